"""Tasks that start with a trigger, and the slots of tasks that wait for one. No trigger here ever fires.

The recorder makes the pools `counts_deferred` and `leaves_deferred_out`, of one slot each.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import DAG, BaseOperator, task
from airflow.triggers.base import StartTriggerArgs

START = pendulum.datetime(2026, 1, 1, tz="UTC")
NEVER = pendulum.datetime(2120, 1, 1, tz="UTC")
A_MOMENT = timedelta(seconds=1)


class Defers(BaseOperator):
    """Runs, and waits then."""

    def execute(self, context):
        self.defer(trigger=DateTimeTrigger(moment=NEVER), method_name="go_on")

    def go_on(self, context, event=None):
        return event


class StartsWithTrigger(Defers):
    """Waits at once, unless told not to."""

    start_trigger_args = StartTriggerArgs(
        trigger_cls="airflow.providers.standard.triggers.temporal.DateTimeTrigger",
        trigger_kwargs={"moment": NEVER},
        next_method="go_on",
        next_kwargs={"given": "in the Dag"},
    )
    start_from_trigger = True

    def __init__(self, *, at_once: bool = True, patience: timedelta | None = None, **kwargs):
        super().__init__(**kwargs)
        self.start_from_trigger = at_once
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow.providers.standard.triggers.temporal.DateTimeTrigger",
            trigger_kwargs={"moment": NEVER},
            next_method="go_on",
            next_kwargs={"given": "in the Dag"},
            timeout=patience,
        )

    def execute(self, context):
        return "ran"


@task
def work():
    pass


with DAG("start_with_trigger", schedule=None, start_date=START):
    work.override(task_id="before")() >> StartsWithTrigger(task_id="waits") >> work.override(task_id="after")()
    StartsWithTrigger(task_id="runs", at_once=False)
    StartsWithTrigger.partial(task_id="mapped").expand(at_once=[True, True])

with DAG("start_with_trigger_in_time", schedule=None, start_date=START):
    StartsWithTrigger(task_id="trigger_timeout", patience=A_MOMENT)
    StartsWithTrigger(task_id="execution_timeout", execution_timeout=A_MOMENT)
    StartsWithTrigger(task_id="the_shorter", patience=timedelta(hours=1), execution_timeout=A_MOMENT)
    StartsWithTrigger(task_id="retried", patience=A_MOMENT, retries=1, retry_delay=timedelta(0))

# The one that waits is the more urgent.
for pool in ("counts_deferred", "leaves_deferred_out"):
    with DAG(f"limit_pool_{pool}", schedule=None, start_date=START):
        Defers(task_id="waits", pool=pool, priority_weight=10)
        work.override(task_id="works", pool=pool)()

with DAG("limit_tasks_deferred", schedule=None, start_date=START, max_active_tasks=1):
    Defers(task_id="waits", priority_weight=10)
    work.override(task_id="works")()

with DAG("limit_tis_deferred", schedule=None, start_date=START):
    Defers.partial(task_id="waits", max_active_tis_per_dagrun=1).expand(doc=["first", "second"])
