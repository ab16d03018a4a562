"""Is late, and starts another Dag, to which a link of its task leads."""

import time
from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, dag, task

START = pendulum.datetime(2026, 1, 1, tz="UTC")


@dag(
    schedule=None,
    start_date=START,
    tags=["late"],
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=1),
        callback=AsyncCallback("asyncio.sleep", kwargs={"delay": 0}),
        name="back for lunch",
    ),
)
def errands():
    @task
    def walk() -> None:
        time.sleep(3)

    TriggerDagRunOperator(task_id="send", trigger_dag_id="errand", trigger_run_id="sent") >> walk()


@dag(schedule=None, start_date=START, tags=["late"])
def errand():
    EmptyOperator(task_id="fetch")


errands()
errand()
