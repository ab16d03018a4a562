"""Limits and order: `parallelism`, pools, `max_active_tasks`, `max_active_tis_per_dag`, priority weights and weight rules.

The recorder makes the pools `one_slot` and `two_slots`. A root task that ends last lets all candidates become ready
at the same time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pendulum

from airflow.example_dags.plugins.decreasing_priority_weight_strategy import DecreasingPriorityStrategy
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, get_current_context, task

START = pendulum.datetime(2026, 1, 1, tz="UTC")


@task
def work(seconds: float = 0.5):
    time.sleep(seconds)


@task
def together(count: int):
    """Works until `count` tasks of the Dag have worked at once, and then long enough for one too many to show."""
    folder = Path(os.environ["AIRFLOW_HOME"]) / "together" / get_current_context()["dag"].dag_id
    folder.mkdir(parents=True, exist_ok=True)
    here, met = folder / str(os.getpid()), folder / "met"
    here.touch()
    deadline = time.monotonic() + 60
    while not met.exists() and time.monotonic() < deadline:
        if len(list(folder.iterdir())) >= count:
            met.touch()
        time.sleep(0.05)
    time.sleep(0.5)
    here.unlink()


with DAG("limit_max_active_tasks", schedule=None, start_date=START, max_active_tasks=2):
    for number in range(5):
        together.override(task_id=f"work_{number}")(2)

with DAG("limit_pool", schedule=None, start_date=START):
    for number in range(4):
        together.override(task_id=f"single_{number}", pool="two_slots")(2)
    for number in range(2):
        work.override(task_id=f"wide_{number}", pool="two_slots", pool_slots=2)()

# What stands in the way of some tasks does not stand in the way of others, which meet while those wait.
with DAG("limit_pool_beside_others", schedule=None, start_date=START, max_active_tasks=2):
    for number in range(3):
        together.override(task_id=f"in_pool_{number}", pool="one_slot", priority_weight=10)(2)
    together.override(task_id="outside")(2)

with DAG("limit_wide_beside_narrow", schedule=None, start_date=START):
    # Once a narrow one runs there is no room for a wide one, although that is more urgent.
    together.override(task_id="narrow_first", pool="two_slots", priority_weight=30)(2)
    together.override(task_id="wide", pool="two_slots", pool_slots=2, priority_weight=20)(1)
    together.override(task_id="narrow_second", pool="two_slots", priority_weight=10)(2)

with DAG("limit_task_beside_others", schedule=None, start_date=START):
    together.override(task_id="one_at_a_time", max_active_tis_per_dag=1, priority_weight=10).expand(count=[2, 2, 2])
    together.override(task_id="others", max_active_tis_per_dag=1).expand(count=[2, 2])

with DAG("limit_task_within_run", schedule=None, start_date=START, max_active_tasks=2):
    together.override(task_id="one_at_a_time", max_active_tis_per_dagrun=1, priority_weight=10).expand(count=[2, 2, 2])
    together.override(task_id="other")(2)

for limit in (1, 2):
    with DAG(f"limit_tis_per_dagrun_{limit}", schedule=None, start_date=START):
        together.override(task_id="mapped", max_active_tis_per_dagrun=limit).expand(count=[2 * limit] * 3)

    with DAG(f"limit_tis_per_dag_{limit}", schedule=None, start_date=START):
        together.override(task_id="mapped", max_active_tis_per_dag=limit).expand(count=[limit] * 3)

    with DAG(f"limit_both_tis_{limit}", schedule=None, start_date=START):
        together.override(task_id="mapped", max_active_tis_per_dag=2, max_active_tis_per_dagrun=limit).expand(
            count=[2] * 3
        )

    # `max_active_tasks` counts within a run.
    with DAG(f"limit_tasks_of_runs_{limit}", schedule=None, start_date=START, max_active_tasks=limit):
        for number in range(3):
            together.override(task_id=f"work_{number}")(2 * limit)

with DAG("limit_two_active_runs", schedule=None, start_date=START, max_active_runs=2):
    together.override(task_id="work")(2)

# Nothing of these ever runs: too few slots in all, and a pool that there is not.
with DAG("limit_never_met", schedule=None, start_date=START):
    EmptyOperator(task_id="empty_needs_no_slot", pool="one_slot", pool_slots=5)
    work.override(task_id="too_wide", pool="one_slot", pool_slots=2)(0)
    work.override(task_id="no_such_pool", pool="no_such_pool")(0)
    work.override(task_id="runs")(0) >> EmptyOperator(task_id="below")

with DAG("limit_queues", schedule=None, start_date=START, default_args={"queue": "of_the_dag"}):
    work.override(task_id="by_default")(0)
    work.override(task_id="of_its_own", queue="of_the_task")(0)
    EmptyOperator(task_id="empty", queue="of_none")

with DAG("limit_parallelism", schedule=None, start_date=START):
    for number in range(3):
        together.override(task_id=f"work_{number}")(2)

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

# In one slot, one after the other, by what the rule makes of the weights.
for rule in ("downstream", "upstream", "absolute"):
    with DAG(f"order_by_{rule}", schedule=None, start_date=START):
        ready = EmptyOperator(task_id="ready", weight_rule="absolute")

        def in_turn(task_id: str, weight: int, weight_rule: str = rule):
            return work.override(task_id=task_id, priority_weight=weight, weight_rule=weight_rule, pool="one_slot")(0.1)

        short, long, middle = in_turn("short", 5), in_turn("long", 3), in_turn("middle", 4)
        ready >> [short, long, middle]
        for first in (long, middle):
            first >> EmptyOperator(task_id=f"after_{first.operator.task_id}", priority_weight=2, weight_rule=rule)
        long >> EmptyOperator(task_id="last", priority_weight=7, weight_rule=rule)

# Of mapped ones the lower index comes first; of several runs the earlier one.
with DAG("order_of_map_indexes", schedule=None, start_date=START):
    work.override(task_id="mapped", pool="one_slot").expand(seconds=[0.1, 0.1, 0.1, 0.1])

for rule in ("downstream", "upstream", "absolute"):
    with DAG(f"weight_rule_{rule}", schedule=None, start_date=START):

        def weighted(task_id: str, weight: int = 1, weight_rule: str = rule) -> EmptyOperator:
            return EmptyOperator(task_id=task_id, priority_weight=weight, weight_rule=weight_rule)

        a, b, c, d = weighted("a", 2), weighted("b", 3), weighted("c", 5), weighted("d", 7)
        a >> [b, c] >> d >> weighted("e")
        a >> d

with DAG("weight_rule_custom", schedule=None, start_date=START):
    work.override(task_id="decreasing", weight_rule=DecreasingPriorityStrategy())(0)
