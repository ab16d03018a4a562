"""What the server under test holds: ids that fit together, so that requests reach more than a 404."""

from __future__ import annotations

import random

import requests

TIMEOUT_SECONDS = 30
ENDED = ("success", "failed", "skipped", "removed", "upstream_failed")


class Server:
    """A session of the administrator."""

    def __init__(self, base_url: str, user: str, password: str):
        self.base_url = base_url.rstrip("/")
        self.credentials = {"username": user, "password": password}
        self.session = requests.Session()
        self.session.headers["Authorization"] = self.authorization()

    def authorization(self) -> str:
        """The header of a new token."""
        answer = requests.post(f"{self.base_url}/auth/token", json=self.credentials, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        return f"Bearer {answer.json()['access_token']}"

    def get(self, path: str) -> dict:
        answer = self.session.get(f"{self.base_url}/api/v2/{path}", timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer.json()


class Resources:
    """Ids, by the names that the documents give them."""

    def __init__(self, server: Server):
        instances = server.get("dags/~/dagRuns/~/taskInstances?limit=100&order_by=id")["task_instances"]
        hitl = server.get("dags/~/dagRuns/~/hitlDetails?limit=20")["hitl_details"]
        instances += [detail["task_instance"] for detail in hitl]
        if not instances:
            raise RuntimeError("the server has no task instance to ask about")
        runs = {(run["dag_id"], run["dag_run_id"]): run for run in server.get("dags/~/dagRuns?limit=100")["dag_runs"]}
        self._instances = [
            {
                "dag_id": instance["dag_id"],
                "dag_run_id": instance["dag_run_id"],
                "run_id": instance["dag_run_id"],
                "task_id": instance["task_id"],
                "map_index": instance["map_index"],
                "try_number": max(instance["try_number"], 1),
                "task_try_number": max(instance["try_number"], 1),
                "version_number": 1,
                "is_over": runs[instance["dag_id"], instance["dag_run_id"]]["state"] in ENDED,
            }
            for instance in instances
        ]
        listed = {
            "asset_id": ("assets", "assets", "id"),
            "asset_alias_id": ("assets/aliases", "asset_aliases", "id"),
            "backfill_id": ("backfills?dag_id=example_xcom", "backfills", "id"),
            "connection_id": ("connections", "connections", "connection_id"),
            "event_log_id": ("eventLogs", "event_logs", "event_log_id"),
            "import_error_id": ("importErrors", "import_errors", "import_error_id"),
            "pool_name": ("pools", "pools", "name"),
            "variable_key": ("variables", "variables", "key"),
            "file_token": ("dags", "dags", "file_token"),
            "xcom_key": ("dags/~/dagRuns/~/taskInstances/~/xcomEntries", "xcom_entries", "key"),
        }
        self._others = {
            name: [item[field] for item in server.get(path)[items]] for name, (path, items, field) in listed.items()
        }
        self._others |= {"section": ["core"], "option": ["parallelism"], "key": ["key"]}
        self._groups = {"example_task_group": ["section_1", "section_2"]}

    def some(self, chance: random.Random, template: str) -> dict[str, object]:
        """Ids of things that exist together. `/wait` answers when its run is over, so it gets one that is."""
        instances = self._instances
        if template.endswith("/wait"):
            instances = [instance for instance in instances if instance["is_over"]]
        elif "{group_id}" in template:
            instances = [instance for instance in instances if instance["dag_id"] in self._groups]
        elif "hitlDetails" in template:
            instances = [instance for instance in instances if "hitl" in instance["dag_id"]] or instances
        ids = dict(chance.choice(instances))
        ids["group_id"] = chance.choice(self._groups.get(ids["dag_id"], ["none"]))
        return ids | {name: chance.choice(values or ["none"]) for name, values in self._others.items()}
