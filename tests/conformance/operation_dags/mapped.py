"""Write over a list that a task makes."""

from __future__ import annotations

from pathlib import Path

import pendulum
from controlled import Controlled

from airflow.sdk import DAG

START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG(Path(__file__).stem, start_date=START, schedule=None):
    make = Controlled(task_id="make", makes_list=True)
    Controlled.partial(task_id="write").expand(value=make.output) >> Controlled(task_id="after")
