"""Official Airflow cannot serialise this timetable of its own SDK; a Dag beside it in the file goes unscheduled."""

from __future__ import annotations

import pendulum

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, EventsTimetable

START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG("beside_an_import_error", schedule="@once", start_date=START):
    EmptyOperator(task_id="only")

with DAG("unserialisable", schedule=EventsTimetable(event_dates=[START]), start_date=START):
    EmptyOperator(task_id="only")
