"""Fails until somebody puts a file beside the Dag folder."""

from pathlib import Path

import pendulum
from airflow.sdk import dag, task

MENDED = Path(__file__).parent.parent / "mended"


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), tags=["fragile"])
def fragile():
    @task
    def pump() -> None:
        if not MENDED.exists():
            raise RuntimeError("the pump is broken")
        print("the pump runs")

    @task
    def water() -> None:
        print("the flowers are watered")

    pump() >> water()


fragile()
