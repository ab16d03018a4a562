"""Gains a task while the test looks on: another version of the Dag."""

import pendulum
from airflow.sdk import dag, task


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), tags=["versions"])
def recipe():
    @task
    def boil() -> None:
        print("the water boils")

    boil()


recipe()
