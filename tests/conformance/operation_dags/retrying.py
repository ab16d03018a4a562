"""A task that is retried at once, and one that waits an hour."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pendulum
from controlled import Controlled

from airflow.sdk import DAG

START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG(Path(__file__).stem, start_date=START, schedule=None):
    at_once = Controlled(task_id="at_once", retries=1, retry_delay=timedelta(0))
    later = Controlled(task_id="later", retries=1, retry_delay=timedelta(hours=1))
    at_once >> later
