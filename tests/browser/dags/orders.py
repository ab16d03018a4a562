"""A daily Dag with most of what the UI can show: a form, a template, XComs, a group, mapped tasks and an asset."""

import logging

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, Metadata, Param, dag, task, task_group

log = logging.getLogger(__name__)
orders_table = Asset("orders_table", "s3://shop/orders", group="shop")


@dag(
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"owner": "shop", "retries": 0},
    params={
        "country": Param("Norway", type="string", enum=["Norway", "Chile", "Japan"], title="Country"),
        "most": Param(100, type="integer", minimum=1, maximum=1000, title="Most orders"),
        "since": Param("2026-01-01", type="string", format="date", title="Since"),
        "test_only": Param(False, type="boolean", title="Only a test"),
    },
    tags=["daily", "shop"],
    doc_md="### Orders of a day\nReads the orders of *one country*.",
)
def orders():
    read = BashOperator(
        task_id="read",
        bash_command="echo reading at most {{ params.most }} orders of {{ params.country }}",
        doc_md="Reads the orders.",
    )

    @task
    def regions(params: dict | None = None) -> list[str]:
        return [f"{params['country']} {side}" for side in ("north", "middle", "south")]

    @task
    def count(region: str) -> dict:
        log.info("counting %s", region)
        return {"region": region, "orders": len(region)}

    @task_group
    def store():
        @task(outlets=[orders_table])
        def write():
            yield Metadata(orders_table, {"rows": 42})

        @task
        def verify() -> str:
            return "verified"

        write() >> verify()

    names = regions()
    read >> names
    count.expand(region=names) >> store()


orders()
