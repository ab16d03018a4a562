"""Runs whenever the orders were written."""

import pendulum
from airflow.sdk import Asset, dag, task


@dag(
    schedule=[Asset("orders_table", "s3://shop/orders", group="shop")],
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["shop"],
)
def invoices():
    @task
    def send() -> None:
        print("every order has its invoice")

    send()


invoices()
