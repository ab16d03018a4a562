"""A Dag whose partitions are named by the timetable of a plugin."""

from __future__ import annotations

from pathlib import Path

import pendulum
from controlled import Controlled
from conformance_plugins import HalfDays

from airflow.sdk import DAG

START, END = pendulum.datetime(2026, 1, 1, tz="UTC"), pendulum.datetime(2026, 2, 1, tz="UTC")

with DAG(Path(__file__).stem, start_date=START, schedule=HalfDays(), catchup=False, end_date=END):
    a, b = (Controlled(task_id=task_id) for task_id in "ab")
    a >> b
