"""The same tasks, none of them mapped."""

from __future__ import annotations

from pathlib import Path

import pendulum
from controlled import Controlled

from airflow.sdk import DAG

START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG(Path(__file__).stem, start_date=START, schedule=None):
    Controlled(task_id="before") >> Controlled(task_id="write") >> Controlled(task_id="after")
