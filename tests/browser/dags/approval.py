"""Waits for a person."""

import pendulum
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, dag, task


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), tags=["people"])
def approval():
    ask = ApprovalOperator(
        task_id="ask",
        subject="Shall the flowers be ordered?",
        body="They cost **twelve** each.",
        params={"how_many": Param(10, type="integer", title="How many")},
    )

    @task
    def order() -> None:
        print("the flowers are ordered")

    ask >> order()


approval()
