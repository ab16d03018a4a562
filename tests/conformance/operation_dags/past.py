"""Tasks that depend on the run before."""

from __future__ import annotations

from pathlib import Path

import pendulum
from controlled import Controlled

from airflow.sdk import DAG

START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG(Path(__file__).stem, start_date=START, schedule=None):
    a = Controlled(task_id="a", depends_on_past=True)
    b = Controlled(task_id="b", wait_for_downstream=True)
    a >> b >> Controlled(task_id="c")
