"""What of an answer is compared: nothing that official Airflow leaves to chance, and nothing of Tradewind's own."""

from __future__ import annotations

import json

# Lists that official Airflow reads without `ORDER BY`, or keeps in a set: two of its own answers differ, too. By operation,
# where the list is.
UNORDERED = {
    "PATCH /api/v2/dags": "dags",
    "PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}": "task_instances",
    "PATCH /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}/dry_run": "task_instances",
    "POST /api/v2/dags/{dag_id}/clearTaskInstances": "task_instances",
}
# The section of Tradewind's own options.
OWN_SECTION = "tradewind"


def comparable(answer: dict) -> dict:
    """The answer without these."""
    body = answer["body"]
    if not isinstance(body, dict):
        return answer
    name = UNORDERED.get(answer["operation"])
    if name in body:
        body = body | {name: _in_any_order(body[name], body["total_entries"])}
    if answer["operation"] == "GET /api/v2/config" and "sections" in body:
        body = body | {"sections": [section for section in body["sections"] if section["name"] != OWN_SECTION]}
    return answer | {"body": body}


def _in_any_order(entries: list, total: int) -> list:
    """Sorted; of a page of more entries, only how many there are, for any may be on it."""
    if len(entries) < total:
        return [len(entries)]
    return sorted(entries, key=lambda entry: json.dumps(entry, sort_keys=True))
