"""A TaskFlow pipeline: plain functions, whose return values travel from task to task as XComs."""

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task


@dag(
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    tags=["example", "taskflow"],
    doc_md="""
    ### Sales pipeline
    Reads a day's orders, drops those that were cancelled, and reports the turnover of each shop and of them all.

    The two reports run at the same time, since neither needs the other.
    """,
)
def sales_pipeline():
    @task
    def extract() -> list[dict]:
        """The orders of the day. A real pipeline would ask a database."""
        return [
            {"shop": "Ghent", "amount": 120.50, "status": "paid"},
            {"shop": "Porto", "amount": 80.00, "status": "paid"},
            {"shop": "Ghent", "amount": 42.25, "status": "cancelled"},
            {"shop": "Turku", "amount": 310.10, "status": "paid"},
            {"shop": "Porto", "amount": 19.90, "status": "paid"},
        ]

    @task
    def keep_paid(orders: list[dict]) -> list[dict]:
        paid = [order for order in orders if order["status"] == "paid"]
        print(f"{len(paid)} of {len(orders)} orders were paid")
        return paid

    @task(multiple_outputs=False)
    def turnover_by_shop(orders: list[dict]) -> dict[str, float]:
        """One XCom for the whole dictionary."""
        turnover: dict[str, float] = {}
        for order in orders:
            turnover[order["shop"]] = turnover.get(order["shop"], 0.0) + order["amount"]
        return turnover

    @task(multiple_outputs=True)
    def summary(orders: list[dict]) -> dict[str, float]:
        """One XCom for each key, so that a later task can ask for just one."""
        amounts = [order["amount"] for order in orders]
        return {"total": sum(amounts), "largest": max(amounts)}

    @task
    def publish(by_shop: dict[str, float], total: float) -> None:
        for shop, amount in sorted(by_shop.items()):
            print(f"{shop}: {amount:.2f} ({amount / total:.0%})")
        print(f"All shops: {total:.2f}")

    paid = keep_paid(extract())
    publish(turnover_by_shop(paid), summary(paid)["total"])


sales_pipeline()
