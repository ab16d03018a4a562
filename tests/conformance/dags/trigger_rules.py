"""Every trigger rule over every combination of upstream outcomes.

Four producers end in success, skipped, failed and upstream_failed, one after another (each producer waits for the one
before, whatever its end), so that between two of them each target is examined. Rules that decide early depend on that
order: each rule is therefore tried in two orders.
"""

from __future__ import annotations

import itertools

import pendulum

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, TriggerRule
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

RULES = [
    "all_success", "all_failed", "all_done", "all_done_min_one_success", "one_success", "one_failed", "one_done",
    "none_failed", "none_failed_min_one_success", "none_skipped", "all_skipped", "always",
]  # fmt: skip
ORDERS = {
    "success_first": ("success", "skipped", "failed"),
    "failed_first": ("failed", "skipped", "success"),
}
OUTCOMES = ("success", "skipped", "failed", "upstream_failed")


def succeed():
    return "done"


def skip():
    raise AirflowSkipException("skipped on purpose")


def fail():
    raise AirflowException("failed on purpose")


CALLABLES = {"success": succeed, "skipped": skip, "failed": fail}

for rule, (order_name, order) in itertools.product(RULES, ORDERS.items()):
    with DAG(
        dag_id=f"trigger_rule_{rule}_{order_name}",
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        tags=["trigger_rule"],
    ) as dag:
        producers = {}
        for outcome in order:
            producers[outcome] = PythonOperator(
                task_id=outcome, python_callable=CALLABLES[outcome], trigger_rule=TriggerRule.ALL_DONE
            )
            if len(producers) > 1:
                list(producers.values())[-2] >> producers[outcome]
        producers["upstream_failed"] = EmptyOperator(task_id="upstream_failed")
        producers["failed"] >> producers["upstream_failed"]
        for size in range(1, len(OUTCOMES) + 1):
            for combination in itertools.combinations(OUTCOMES, size):
                target = EmptyOperator(task_id="after_" + "__".join(combination), trigger_rule=TriggerRule(rule))
                [producers[outcome] for outcome in combination] >> target
        EmptyOperator(task_id="without_upstream", trigger_rule=TriggerRule(rule))
