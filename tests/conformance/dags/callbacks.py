"""Callbacks of Dags and tasks, over how tasks and runs end.

Each callback leaves a file under `$AIRFLOW_HOME/conformance/<dag_id>/`, the only trace that survives its process.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pendulum

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseNotifier, TaskGroup, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

START = pendulum.datetime(2026, 1, 1, tz="UTC")
AT_ONCE = timedelta(0)


def note(dag_id: str, name: str, text: str) -> None:
    folder = Path(os.environ["AIRFLOW_HOME"]) / "conformance" / dag_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text + "\n")


def of_task(name: str):
    def callback(context):
        ti = context["ti"]
        index = "" if ti.map_index < 0 else f"_{ti.map_index}"
        error = context.get("exception")
        text = f"{name} of {ti.task_id} in try {ti.try_number}: {type(error).__name__ if error else 'no error'}"
        note(context["dag"].dag_id, f"{ti.task_id}{index}_{name}_{ti.try_number}", text)

    return callback


def of_dag(name: str):
    def callback(context):
        # Which of several tasks is named is left to chance; without one there is little else.
        told = f"state {context['dag_run'].state}" if "ti" in context else "no task"
        note(context["dag"].dag_id, f"run_{name}", f"{name} of {context['run_id']}: {context['reason']}, {told}")

    return callback


class Notifies(BaseNotifier):
    """A notifier instead of a function."""

    template_fields = ("text",)

    def __init__(self, name: str, text: str):
        super().__init__()
        self.name, self.text = name, text

    def notify(self, context):
        note(context["dag"].dag_id, self.name, self.text)


def broken(context):
    raise ValueError("the callback itself fails")


OF_TASK = {f"on_{name}_callback": of_task(name) for name in ("execute", "success", "failure", "retry", "skipped")}
OF_DAG = {f"on_{name}_callback": of_dag(name) for name in ("success", "failure")}


def succeed():
    return "fine"


def fail():
    raise AirflowException("failed on purpose")


def fail_for_good():
    raise AirflowFailException("no use to try again")


def skip():
    raise AirflowSkipException("skipped on purpose")


def fail_at_first():
    if get_current_context()["ti"].try_number == 1:
        fail()


def take_too_long():
    time.sleep(60)


OUTCOMES = {
    "succeeds": (succeed, {}),
    "fails": (fail, {}),
    "fails_after_retry": (fail, {"retries": 1}),
    "fails_for_good": (fail_for_good, {"retries": 1}),
    "recovers": (fail_at_first, {"retries": 1}),
    "is_skipped": (skip, {"retries": 1}),
    "times_out": (take_too_long, {"execution_timeout": timedelta(seconds=1)}),
}

# Every callback of a task and of its Dag, over how the task ends.
for name, (function, arguments) in OUTCOMES.items():
    with DAG(f"callbacks_when_task_{name}", schedule=None, start_date=START, **OF_DAG):
        ends = task(function, task_id="ends", retry_delay=AT_ONCE, **OF_TASK, **arguments)()
        # A task that does not run has no callbacks.
        ends >> EmptyOperator(task_id="below", trigger_rule="all_success", on_failure_callback=of_task("failure"))

with DAG("callbacks_of_mapped", schedule=None, start_date=START, **OF_DAG):

    @task(**OF_TASK)
    def by_index(n):
        if n == 1:
            fail()
        if n == 2:
            skip()

    by_index.expand(n=[0, 1, 2])

with DAG("callbacks_in_lists", schedule=None, start_date=START):

    @task(
        on_success_callback=[of_task("success"), broken, of_task("success_again")],
        on_execute_callback=[broken, of_task("execute")],
    )
    def several():
        pass

    @task(on_failure_callback=[broken, of_task("failure")])
    def fails_with_several():
        fail()

    several()
    fails_with_several()

with DAG(
    "callbacks_by_notifiers",
    schedule=None,
    start_date=START,
    on_success_callback=[Notifies("of_dag", "{{ dag.dag_id }} {{ dag_run.run_id }}"), of_dag("success")],
):

    @task(
        on_success_callback=Notifies("of_task", "{{ ti.task_id }} {{ ti.try_number }}"),
        on_execute_callback=Notifies("of_execution", "{{ task.task_id }}"),
    )
    def notified():
        pass

    notified()

with DAG("callbacks_by_default", schedule=None, start_date=START, default_args=OF_TASK):
    task(succeed, task_id="succeeds")()
    task(fail, task_id="fails")()
    with TaskGroup("section", default_args={"on_failure_callback": of_task("failure_in_group")}):
        task(fail, task_id="fails")()

with DAG("callbacks_of_empty_operators", schedule=None, start_date=START, **OF_DAG):
    # With a callback it is run like any other task; without it is not.
    EmptyOperator(task_id="executes", on_execute_callback=of_task("execute"))
    EmptyOperator(task_id="succeeds", on_success_callback=of_task("success"))
    EmptyOperator(task_id="would_fail", on_failure_callback=of_task("failure"))
    EmptyOperator(task_id="would_be_skipped", on_skipped_callback=of_task("skipped"))

with DAG(
    "callbacks_of_broken_dag_callback",
    schedule=None,
    start_date=START,
    on_success_callback=[broken, of_dag("success")],
):
    EmptyOperator(task_id="only")

with DAG("callbacks_of_failure_within", schedule=None, start_date=START, **OF_DAG):
    failed = task(fail, task_id="failed")()
    failed >> EmptyOperator(task_id="upstream_failed") >> EmptyOperator(task_id="all_done", trigger_rule="all_done")

with DAG(
    "callbacks_of_dagrun_timeout", schedule=None, start_date=START, dagrun_timeout=timedelta(seconds=6), **OF_DAG
):
    task(take_too_long, task_id="runs")() >> EmptyOperator(task_id="waits")

with DAG("callbacks_of_fail_fast", schedule=None, start_date=START, fail_fast=True, **OF_DAG):

    @task(**OF_TASK)
    def breaks():
        fail()

    breaks() >> EmptyOperator(task_id="below", on_skipped_callback=of_task("skipped"))

with DAG("callbacks_of_teardown", schedule=None, start_date=START, **OF_DAG):
    setup = task(succeed, task_id="setup", **OF_TASK)()
    teardown = task(fail, task_id="teardown", **OF_TASK)()
    setup >> EmptyOperator(task_id="work") >> teardown.as_teardown(setups=setup)

# What becomes of a task all of whose callbacks fail.
with DAG("callbacks_that_fail", schedule=None, start_date=START):
    for name, function in {"succeeds": succeed, "fails": fail, "is_skipped": skip, "retries": fail_at_first}.items():
        task(
            function, task_id=name, retries=1 if name == "retries" else 0,
            retry_delay=AT_ONCE, **dict.fromkeys(OF_TASK, broken),
        )()  # fmt: skip
