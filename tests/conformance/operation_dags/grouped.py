"""A group between two tasks."""

from __future__ import annotations

from pathlib import Path

import pendulum
from controlled import Controlled

from airflow.sdk import DAG, TaskGroup

START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG(Path(__file__).stem, start_date=START, schedule=None):
    before, after = (Controlled(task_id=task_id) for task_id in ("before", "after"))
    with TaskGroup("group") as group:
        Controlled(task_id="one") >> Controlled(task_id="two")
    before >> group >> after
