"""Timetables and weight rules of plugins (`plugins/conformance_plugins.py`)."""

from __future__ import annotations

import time
from datetime import timedelta

import pendulum
from conformance_plugins import Never, ShiftTimetable, WeighByIndex, WeighByName

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task

PERIOD = {
    "start_date": pendulum.datetime(2026, 1, 1, 5, tz="UTC"),
    "end_date": pendulum.datetime(2026, 1, 2, 13, tz="UTC"),
}
START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG("schedule_custom", schedule=ShiftTimetable(6), catchup=True, max_active_runs=16, **PERIOD):
    EmptyOperator(task_id="only")

with DAG("schedule_custom_without_catchup", schedule=ShiftTimetable(8), catchup=False, **PERIOD):
    EmptyOperator(task_id="only")

with DAG("schedule_custom_fails", schedule=ShiftTimetable(6, last_shift=2), catchup=True, **PERIOD):
    EmptyOperator(task_id="only")

with DAG("custom_timetable_manual", schedule=ShiftTimetable(6)):
    EmptyOperator(task_id="only")

with DAG("custom_timetable_never", schedule=Never(), start_date=START, max_active_runs=3):
    EmptyOperator(task_id="only")

with DAG("custom_weight_mapped", schedule=None, start_date=START):

    @task
    def three():
        return [1, 2, 3]

    # An instance of the class cannot be serialized with a mapped task.
    @task(weight_rule="conformance_plugins.WeighByIndex")
    def literal(number):
        pass

    @task(weight_rule="conformance_plugins.WeighByIndex")
    def listed(number):
        pass

    literal.expand(number=[1, 2])
    listed.expand(number=three())

with DAG("custom_weight_retries", schedule=None, start_date=START):

    @task(weight_rule=WeighByIndex(), retries=1, retry_delay=timedelta(0))
    def second_time(ti):
        if ti.try_number == 1:
            raise ValueError("not yet")

    second_time()

with DAG("order_custom_weight", schedule=None, start_date=START):

    @task
    def work():
        time.sleep(0.1)

    ready = EmptyOperator(task_id="ready")
    for weight in (3, 1, 5, 2, 4):
        ready >> work.override(task_id=f"weight_{weight}", weight_rule=WeighByName(), pool="one_slot")()
