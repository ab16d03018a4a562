"""Runs that the scheduler creates by itself. All lie in the past and end, so that what is created is fixed."""

from __future__ import annotations

from datetime import timedelta

import pendulum

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import (
    DAG,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)
from airflow.timetables.events import EventsTimetable

UTC = {"start_date": pendulum.datetime(2026, 1, 1, tz="UTC"), "end_date": pendulum.datetime(2026, 1, 3, tz="UTC")}
BERLIN = pendulum.timezone("Europe/Berlin")
SPRING = {
    "start_date": pendulum.datetime(2026, 3, 28, tz=BERLIN),
    "end_date": pendulum.datetime(2026, 3, 30, 12, tz=BERLIN),
}
AUTUMN = {
    "start_date": pendulum.datetime(2025, 10, 25, 22, tz=BERLIN),
    "end_date": pendulum.datetime(2025, 10, 26, 6, tz=BERLIN),
}

SCHEDULES = {
    "daily": ("@daily", UTC),
    "cron": ("30 6,18 * * *", UTC),
    "timedelta": (timedelta(hours=16), UTC),
    "once": ("@once", UTC),
    "spring_daily": ("30 2 * * *", SPRING),
    "autumn_hourly": ("0 */2 * * *", AUTUMN),
    "cron_data_interval": (CronDataIntervalTimetable("0 12 * * *", timezone="UTC"), UTC),
    "cron_trigger": (CronTriggerTimetable("0 12 * * *", timezone="Europe/Berlin"), UTC),
    "cron_trigger_interval": (
        CronTriggerTimetable("0 12 * * *", timezone="UTC", interval=timedelta(hours=3)),
        UTC,
    ),
    "delta_data_interval": (DeltaDataIntervalTimetable(timedelta(days=1)), UTC),
    "delta_trigger": (DeltaTriggerTimetable(timedelta(hours=20)), UTC),
    "multiple_cron_trigger": (MultipleCronTriggerTimetable("0 6 * * *", "0 18 1-2 * *", timezone="UTC"), UTC),
    "events": (
        EventsTimetable(
            event_dates=[pendulum.datetime(2026, 1, day, day, tz="UTC") for day in (1, 2, 3)], restrict_to_events=True
        ),
        {"start_date": pendulum.datetime(2026, 1, 1, tz="UTC")},
    ),
}

for name, (schedule, period) in SCHEDULES.items():
    with DAG(f"schedule_{name}", schedule=schedule, catchup=True, max_active_runs=16, **period):
        EmptyOperator(task_id="only")
