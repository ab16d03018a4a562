"""Fills a database: official Airflow runs the Dags of `dags/`, and users do what leaves rows of every kind."""

from __future__ import annotations

import shutil
from pathlib import Path

from data_set import DataSet
from official import Official, wait_until

ENDED = {"success", "failed"}
RUN_SECONDS = 40


class Filler:
    def __init__(self, official: Official, dags: Path):
        self.official = official
        self.dags = dags
        self.call = official.rest.call

    def fill(self) -> None:
        raise NotImplementedError

    def run(self, dag_id: str, run_id: str, ends: bool = True, **body) -> None:
        """Triggers a run and waits for its end, or until nothing of it is queued or running any more."""
        body = {"dag_run_id": run_id, "logical_date": None} | body
        self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
        if ends:
            self.wait_run(dag_id, run_id)

    def wait_run(self, dag_id: str, run_id: str) -> None:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        try:
            wait_until(lambda: self.call("GET", path)["state"] in ENDED, f"the end of {dag_id} {run_id}", RUN_SECONDS)
        except TimeoutError as error:
            print(f"not filled: {error}", flush=True)

    def wait_state(self, dag_id: str, run_id: str, states: dict[str, str]) -> None:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"

        def reached() -> bool:
            found = {row["task_id"]: row["state"] for row in self.call("GET", path)["task_instances"]}
            return all(found.get(task) == state for task, state in states.items())

        try:
            wait_until(reached, f"{states} of {dag_id} {run_id}", RUN_SECONDS)
        except TimeoutError as error:
            rows = self.call("GET", path)["task_instances"]
            print(f"not filled: {error}: { {row['task_id']: row['state'] for row in rows} }", flush=True)

    def optional(self, method: str, path: str, body=None) -> None:
        status, answer = self.official.rest.answer(method, path, body)
        if status >= 400:
            print(f"not filled: {method} {path}: {status} {answer}")


def prepare_dags(data: DataSet, folder: Path) -> Path:
    """A copy of the Dag files, which filling edits."""
    return Path(shutil.copytree(data.dags, folder / "dags", ignore=shutil.ignore_patterns("__pycache__")))
