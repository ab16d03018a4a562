"""Limits and order: pools, `max_active_tasks`, `max_active_tis_per_dag`, priority weights and weight rules.

The recorder makes the pools `one_slot` and `two_slots`. A root task that ends last lets all candidates become ready
at the same time.
"""

from __future__ import annotations

import time

import pendulum

from airflow.example_dags.plugins.decreasing_priority_weight_strategy import DecreasingPriorityStrategy
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task

START = pendulum.datetime(2026, 1, 1, tz="UTC")


@task
def work(seconds: float = 0.5):
    time.sleep(seconds)


with DAG("limit_max_active_tasks", schedule=None, start_date=START, max_active_tasks=2):
    for number in range(5):
        work.override(task_id=f"work_{number}")()

with DAG("limit_pool", schedule=None, start_date=START):
    for number in range(4):
        work.override(task_id=f"single_{number}", pool="two_slots")()
    for number in range(2):
        work.override(task_id=f"wide_{number}", pool="two_slots", pool_slots=2)()

with DAG("limit_task_in_dag", schedule=None, start_date=START):
    work.override(task_id="only_one_in_all_runs", max_active_tis_per_dag=1)()

with DAG("limit_max_active_runs", schedule=None, start_date=START, max_active_runs=1):
    work()

with DAG("order_priority_weight", schedule=None, start_date=START):
    ready = EmptyOperator(task_id="ready", weight_rule="absolute")
    for weight in (3, 1, 5, 2, 4):
        ready >> work.override(
            task_id=f"weight_{weight}", priority_weight=weight, weight_rule="absolute", pool="one_slot"
        )(0.1)

for rule in ("downstream", "upstream", "absolute"):
    with DAG(f"weight_rule_{rule}", schedule=None, start_date=START):

        def weighted(task_id: str, weight: int = 1, weight_rule: str = rule) -> EmptyOperator:
            return EmptyOperator(task_id=task_id, priority_weight=weight, weight_rule=weight_rule)

        a, b, c, d = weighted("a", 2), weighted("b", 3), weighted("c", 5), weighted("d", 7)
        a >> [b, c] >> d >> weighted("e")
        a >> d

with DAG("weight_rule_custom", schedule=None, start_date=START):
    work.override(task_id="decreasing", weight_rule=DecreasingPriorityStrategy())(0)
