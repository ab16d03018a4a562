"""Work between a setup and a teardown."""

from __future__ import annotations

from pathlib import Path

import pendulum
from controlled import Controlled

from airflow.sdk import DAG

START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG(Path(__file__).stem, start_date=START, schedule=None):
    setup = Controlled(task_id="setup").as_setup()
    work, after = Controlled(task_id="work"), Controlled(task_id="after")
    teardown = Controlled(task_id="teardown").as_teardown(setups=setup)
    setup >> work >> [teardown, after]
