"""Dags whose rows the recorded answers are about: many features each, seconds to run."""

from __future__ import annotations

import datetime

from airflow.sdk import DAG, Asset, AssetAlias, Metadata, Param, TaskGroup, task
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
ORDERS = Asset("orders", uri="s3://shop/orders", group="shop", extra={"owner": "sales"})
STOCK = Asset("stock", uri="s3://shop/stock")

with DAG(
    "pipeline",
    schedule=None,
    start_date=START,
    tags=["shop", "daily"],
    description="Reads, maps and adds up",
    doc_md="# Pipeline\nof the shop",
    owner_links={"sales": "https://example.com/sales"},
    default_args={"owner": "sales", "pool": "shop"},
    params={"day": Param("2026-01-01", type="string", title="Day"), "count": Param(3, type="integer", minimum=1)},
    max_active_runs=4,
):

    @task
    def values():
        return {"number": 1, "list": [1, 2], "none": None, "text": "ä"}

    @task
    def several(ti=None):
        ti.xcom_push("text", "one")
        ti.xcom_push("moment", START)
        ti.xcom_push("tuple", (1, 2))
        return [1, 2, 3]

    @task
    def double(number):
        return number * 2

    with TaskGroup("sums", tooltip="adding up"):

        @task(doc_md="adds")
        def add(numbers):
            return sum(numbers)

        shown = BashOperator(task_id="show", bash_command="echo {{ params.day }} {{ run_id }}", env={"TOKEN": "x"})
        add(double.expand(number=several())) >> shown
    values() >> TriggerDagRunOperator(
        task_id="trigger", trigger_dag_id="triggered", trigger_run_id="from_pipeline", reset_dag_run=True
    )

with DAG("triggered", schedule=None, start_date=START, tags=["shop"], dag_display_name="Triggered by another"):
    EmptyOperator(task_id="only") >> EmptyOperator(task_id="next", task_display_name="Comes after")

with DAG("outcomes", schedule=None, start_date=START, default_args={"owner": "stock"}):

    @task
    def fail():
        raise ValueError("as asked")

    @task.short_circuit
    def never():
        return False

    @task(retries=2, retry_delay=datetime.timedelta(days=300))
    def again():
        raise ValueError("later")

    fail() >> EmptyOperator(task_id="after_failure")
    never() >> EmptyOperator(task_id="skipped")
    again()

with DAG("produce", schedule=None, start_date=START, tags=["assets"]):

    @task(outlets=[ORDERS, AssetAlias("any_orders")])
    def write(outlet_events=None):
        outlet_events[AssetAlias("any_orders")].add(STOCK, extra={"rows": 3})
        yield Metadata(ORDERS, extra={"rows": 2})

    write()

with DAG("consume", schedule=ORDERS, start_date=START, tags=["assets"]):
    EmptyOperator(task_id="read", inlets=[ORDERS])

with DAG("consume_both", schedule=ORDERS & Asset("never", uri="s3://shop/never"), start_date=START):
    EmptyOperator(task_id="read")

with DAG("daily", schedule="@daily", start_date=START, catchup=False, end_date=datetime.datetime(2026, 2, 1)):
    EmptyOperator(task_id="only")

with DAG("approval", schedule=None, start_date=START):
    HITLOperator(task_id="choose", subject="Which?", body="**one**", options=["one", "two"], params={"note": "none"})
    ApprovalOperator(task_id="approve", subject="May we?", defaults=["Approve"])

with DAG("no_pool", schedule=None, start_date=START):
    EmptyOperator(task_id="only", pool="nowhere")
