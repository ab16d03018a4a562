"""A group of two tasks over a list that a task makes."""

from __future__ import annotations

from pathlib import Path

import pendulum
from controlled import Controlled

from airflow.sdk import DAG, task_group

START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG(Path(__file__).stem, start_date=START, schedule=None):

    @task_group
    def group(value):
        Controlled(task_id="one", value=value) >> Controlled(task_id="two")

    make = Controlled(task_id="make", makes_list=True)
    group.expand(value=make.output) >> Controlled(task_id="after")
