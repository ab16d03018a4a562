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
    "POST /api/v2/dags/{dag_id}/clearDagRuns": "task_instances",
    "POST /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/clear": "task_instances",
}
# What leads to another page means something to the server alone that told it.
CURSORS = ("next_cursor", "previous_cursor")
# The section of Tradewind's own options.
OWN_SECTION = "tradewind"


# Rows that are added in the order of a set, so that their ids are as it happens.
NUMBERED_BY_CHANCE = "partitioned_asset_key_log"


def comparable(answer: dict) -> dict:
    """The answer without these."""
    body = answer["body"]
    if NUMBERED_BY_CHANCE in (answer.get("rows") or {}):
        answer = answer | {"rows": answer["rows"] | {NUMBERED_BY_CHANCE: _unnumbered(answer["rows"][NUMBERED_BY_CHANCE])}}
    if not isinstance(body, dict):
        return answer
    name = UNORDERED.get(answer["operation"])
    if name in body:
        body = body | {name: _in_any_order(body[name], body["total_entries"])}
    body = body | {name: "${CURSOR}" for name in CURSORS if body.get(name)}
    if answer["operation"] == "GET /ui/dags" and "dags" in body:
        body = body | {"dags": [_with_sorted(dag, "pending_actions") for dag in body["dags"]]}
    if answer["operation"] == "GET /api/v2/config" and "sections" in body:
        body = body | {"sections": [section for section in body["sections"] if section["name"] != OWN_SECTION]}
    return answer | {"body": body}


def _unnumbered(changes: dict) -> dict:
    added = [{name: value for name, value in row.items() if name != "id"} for row in changes.get("added", [])]
    return changes | {"added": _in_any_order(added, len(added))}


def _with_sorted(entry: dict, name: str) -> dict:
    entries = entry.get(name, [])
    return entry | {name: _in_any_order(entries, len(entries))}


def _in_any_order(entries: list, total: int) -> list:
    """Sorted; of a page of more entries, only how many there are, for any may be on it."""
    if len(entries) < total:
        return [len(entries)]
    return sorted(entries, key=lambda entry: json.dumps(entry, sort_keys=True))
