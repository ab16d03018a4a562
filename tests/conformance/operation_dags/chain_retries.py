"""The chain with retries, in another pool and with another weight."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pendulum
from controlled import Controlled

from airflow.sdk import DAG

START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG(Path(__file__).stem, start_date=START, schedule=None):
    retries = {"retries": 2, "retry_delay": timedelta(0), "pool": "two_slots", "priority_weight": 7}
    a, b, c = (Controlled(task_id=task_id, **retries) for task_id in "abc")
    a >> b >> c
