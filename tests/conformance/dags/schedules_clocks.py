"""Schedules over every change of the clock: five zones, forwards and backwards.

New York, Berlin and Sydney change by an hour in the night, Lord Howe by half an hour, São Paulo at midnight.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import (
    DAG,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    MultipleCronTriggerTimetable,
)

# Zone, the day on which the clock changes, a minute of the night that is skipped or comes twice, and its hours.
CHANGES = {
    "new_york_forwards": ("America/New_York", (2025, 3, 9), "30 2", "1-4"),
    "new_york_backwards": ("America/New_York", (2025, 11, 2), "30 1", "0-3"),
    "berlin_forwards": ("Europe/Berlin", (2025, 3, 30), "30 2", "1-4"),
    "berlin_backwards": ("Europe/Berlin", (2025, 10, 26), "30 2", "1-4"),
    "sydney_forwards": ("Australia/Sydney", (2025, 10, 5), "30 2", "1-4"),
    "sydney_backwards": ("Australia/Sydney", (2025, 4, 6), "30 2", "1-4"),
    "lord_howe_forwards": ("Australia/Lord_Howe", (2025, 10, 5), "15 2", "1-3"),
    "lord_howe_backwards": ("Australia/Lord_Howe", (2025, 4, 6), "45 1", "1-3"),
    "sao_paulo_forwards": ("America/Sao_Paulo", (2018, 11, 4), "30 0", "0-2"),
    "sao_paulo_backwards": ("America/Sao_Paulo", (2018, 2, 17), "30 23", "22-23"),
}

for name, (zone, day, minute, hours) in CHANGES.items():
    changes = pendulum.datetime(*day, tz=zone)
    daily = f"{minute} * * *"
    schedules = {
        "interval": daily,
        "interval_through_the_night": CronDataIntervalTimetable(f"*/30 {hours} * * *", timezone=zone),
        "trigger": CronTriggerTimetable(daily, timezone=zone),
        "trigger_through_the_night": CronTriggerTimetable(
            f"*/30 {hours} * * *", timezone=zone, interval=timedelta(hours=1)
        ),
        "several_triggers": MultipleCronTriggerTimetable(daily, "0 12 * * *", timezone=zone),
        "delta": DeltaDataIntervalTimetable(timedelta(days=1)),
    }
    for kind, schedule in schedules.items():
        with DAG(
            f"clock_{name}_{kind}",
            schedule=schedule,
            start_date=changes if "night" in kind else changes.subtract(days=1),
            end_date=changes.add(hours=36),
            catchup=True,
            max_active_runs=32,
        ):
            EmptyOperator(task_id="only")
