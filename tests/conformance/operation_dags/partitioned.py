"""A Dag with a partition for every day of Berlin, all of which lie in the past: nothing is made of it by itself."""

from __future__ import annotations

from pathlib import Path

import pendulum
from controlled import Controlled

from airflow.sdk import DAG, CronPartitionTimetable

START, END = pendulum.datetime(2026, 1, 1, tz="UTC"), pendulum.datetime(2026, 2, 1, tz="UTC")

with DAG(Path(__file__).stem, start_date=START, schedule=CronPartitionTimetable("0 0 * * *", timezone="Europe/Berlin", key_format="%Y-%m-%d"), catchup=False, end_date=END):
    a, b = (Controlled(task_id=task_id) for task_id in "ab")
    a >> b
