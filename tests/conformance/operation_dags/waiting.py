"""A sensor that is rescheduled, and a task that defers; neither comes to an end by itself within an hour."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pendulum
from controlled import Controlled

from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG

START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG(Path(__file__).stem, start_date=START, schedule=None):
    rescheduled = FileSensor(
        task_id="rescheduled", filepath="/nonexistent/file", mode="reschedule", poke_interval=3600, fs_conn_id="fs"
    )
    deferred = TimeDeltaSensor(task_id="deferred", delta=timedelta(days=36500), deferrable=True)
    [rescheduled, deferred] >> Controlled(task_id="after")
