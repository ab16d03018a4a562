"""`depends_on_past`, `wait_for_downstream` and `ignore_first_depends_on_past`, over how the run before ended.

A task ends in the first run as its name says, and would succeed in those after it.
"""

from __future__ import annotations

import pendulum

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

START = pendulum.datetime(2026, 1, 1, tz="UTC")
PAST = {"depends_on_past": True}
DOWNSTREAM = {"depends_on_past": True, "wait_for_downstream": True}


@task(trigger_rule="all_done")
def at_first(outcome: str):
    if get_current_context()["run_id"] == "first":
        if outcome == "skipped":
            raise AirflowSkipException("in the first run")
        if outcome == "failed":
            raise AirflowException("in the first run")
    return outcome


def empty(task_id: str, **arguments) -> EmptyOperator:
    return EmptyOperator(task_id=task_id, **arguments)


for catchup in (False, True):
    with DAG(
        f"past_outcomes_{'with' if catchup else 'without'}_catchup", schedule=None, start_date=START, catchup=catchup
    ):
        empty("after_success", **PAST)
        at_first.override(task_id="after_skipped", **PAST)("skipped")
        failing = at_first.override(task_id="after_failed", **PAST)("failed")
        failing >> empty("after_upstream_failed", **PAST)
        failing >> empty("whatever_happens", trigger_rule="all_done", **PAST)

# The task itself succeeds; the task downstream of it ends as the name says.
with DAG("past_downstream", schedule=None, start_date=START):
    empty("waits_for_success", **DOWNSTREAM) >> empty("success")
    empty("waits_for_skipped", **DOWNSTREAM) >> at_first.override(task_id="skipped")("skipped")
    failed = at_first.override(task_id="failed")("failed")
    empty("waits_for_failed", **DOWNSTREAM) >> failed
    # Only tasks directly downstream count.
    empty("waits_for_far_failed", **DOWNSTREAM) >> empty("between") >> failed
    upstream_failed = empty("upstream_failed")
    failed >> upstream_failed
    empty("waits_for_upstream_failed", **DOWNSTREAM) >> upstream_failed
    # Says that it waits, which alone makes it depend on its past.
    empty("waits_without_past", wait_for_downstream=True) >> failed

with DAG("past_ignores_first", schedule=None, start_date=START):
    empty("ignores_first", ignore_first_depends_on_past=True, **PAST)
    empty("does_not", ignore_first_depends_on_past=False, **PAST)
    failing = at_first.override(task_id="ignores_first_failing", ignore_first_depends_on_past=True, **PAST)("failed")
    failing >> empty("below")

with DAG("past_mapped", schedule=None, start_date=START):
    # One index that failed holds up every index of the next run.
    at_first.override(task_id="one_fails", **PAST).expand(outcome=["success", "failed"])
    at_first.override(task_id="all_succeed", **PAST).expand(outcome=["success", "success"])
    EmptyOperator.partial(task_id="of_zero_length", **PAST).expand(doc_md=[])

with DAG("past_task_start_dates", schedule=None, start_date=START, catchup=True):
    empty("from_the_start", **PAST)
    empty("from_the_second_day", start_date=START.add(days=1), **PAST)
    empty("until_the_first_day", end_date=START, **PAST)

with DAG(
    "past_scheduled",
    schedule="@daily",
    start_date=START,
    end_date=START.add(days=3),
    catchup=True,
    max_active_runs=16,
    default_args=PAST,
):
    empty("one") >> at_first("success") >> empty("two", wait_for_downstream=True) >> empty("three")
