"""Says one line, and a second one when somebody puts a file beside the Dag folder."""

import logging
import time
from pathlib import Path

import pendulum
from airflow.sdk import dag, task

log = logging.getLogger(__name__)
GO_ON = Path(__file__).parent.parent / "go-on"


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), tags=["slow"])
def chatter():
    @task
    def talk() -> None:
        log.info("the first line")
        while not GO_ON.exists():
            time.sleep(0.1)
        log.info("the line after it")
        time.sleep(1)

    talk()


chatter()
