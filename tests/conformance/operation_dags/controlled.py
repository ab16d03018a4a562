"""The operator of the Dags in this folder: does what files under `$AIRFLOW_HOME/control/<dag_id>/` say, and leaves
there what it did, since a process that is ended has no XCom to leave a trace in.

A file `<verb>/<name>` is read anew by every attempt, where the name is that of a task, `write`, of one map index,
`write[1]`, or of a task in one run, `one write`. Verbs: `hold` (wait while the file is there), `fail`, `skip`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

POLL_SECONDS = 0.1


class Controlled(BaseOperator):
    """Returns its try number, or the numbers up to what the file `length` says."""

    ui_color = "#fff"

    def __init__(self, *, value=None, makes_list: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.value = value
        self.makes_list = makes_list
        self.is_killed = False

    def execute(self, context):
        ti = context["ti"]
        self.control = Path(os.environ["AIRFLOW_HOME"]) / "control" / ti.dag_id
        self.names = [ti.task_id, f"{ti.task_id}[{ti.map_index}]", f"{ti.run_id} {ti.task_id}"]
        self.trace_file = self.control / "trace" / f"{ti.run_id} {ti.task_id}[{ti.map_index}] {ti.try_number}"
        self.trace("started")
        while self.is_told("hold") and not self.is_killed:
            time.sleep(POLL_SECONDS)
        if self.is_killed:
            raise AirflowException("killed")
        if self.is_told("fail"):
            self.trace("failed")
            raise AirflowException("told to fail")
        if self.is_told("skip"):
            self.trace("skipped")
            raise AirflowSkipException("told to skip")
        self.trace("finished")
        if self.makes_list:
            length = self.control / "length"
            return list(range(int(length.read_text()) if length.exists() else 3))
        return ti.try_number

    def on_kill(self):
        self.is_killed = True
        self.trace("killed")

    def is_told(self, verb: str) -> bool:
        return any((self.control / verb / name).exists() for name in self.names)

    def trace(self, what: str) -> None:
        self.trace_file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.trace_file, "a") as file:
            file.write(what + "\n")
