"""Attempts: retries, exceptions that end them, processes that die, time-outs, and callbacks of tasks and Dags.

A callback leaves a file under `$AIRFLOW_HOME/conformance/<dag_id>/`, the only trace that survives its process.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import pendulum

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

START = pendulum.datetime(2026, 1, 1, tz="UTC")
AT_ONCE = timedelta(seconds=0)


def trace(name: str):
    """A callback that notes what it was called for."""

    def callback(context):
        folder = Path(os.environ["AIRFLOW_HOME"]) / "conformance" / context["dag"].dag_id
        folder.mkdir(parents=True, exist_ok=True)
        ti = context.get("ti")
        subject = f"{ti.task_id} try {ti.try_number}" if ti else "run"
        reason = context.get("reason") or ""
        suffix = f"_{ti.task_id}_{ti.try_number}" if ti and name.startswith("task") else ""
        (folder / f"{name}{suffix}").write_text(f"{subject} {reason}".strip() + "\n")

    return callback


def try_number() -> int:
    return get_current_context()["ti"].try_number


with DAG("retry_then_success", schedule=None, start_date=START):

    @task(retries=2, retry_delay=AT_ONCE)
    def flaky():
        if try_number() < 3:
            raise AirflowException(f"try {try_number()} fails")
        return try_number()

    @task
    def after(tries: int):
        return tries * 10

    after(flaky())

with DAG("retries_exhausted", schedule=None, start_date=START):

    @task(retries=1, retry_delay=AT_ONCE)
    def hopeless():
        raise ValueError("always")

    @task
    def never():
        pass

    @task(trigger_rule="all_done")
    def regardless():
        return "ran"

    hopeless() >> [never(), regardless()]

with DAG("retry_with_backoff", schedule=None, start_date=START):

    @task(
        retries=3, retry_delay=timedelta(seconds=1), retry_exponential_backoff=True, max_retry_delay=timedelta(seconds=2)
    )
    def backs_off():
        if try_number() < 4:
            raise AirflowException("again")

    backs_off()

with DAG("exceptions", schedule=None, start_date=START):

    @task(retries=3, retry_delay=AT_ONCE)
    def fail_without_retry():
        raise AirflowFailException("no use to try again")

    @task(retries=3, retry_delay=AT_ONCE)
    def skip():
        raise AirflowSkipException("nothing to do")

    @task
    def xcom_before_failure():
        get_current_context()["ti"].xcom_push("kept", {"a": [1, None, "ü"]})
        raise AirflowException("after the push")

    @task
    def after_skip():
        pass

    fail_without_retry()
    skip() >> after_skip()
    xcom_before_failure()

with DAG("process_ends", schedule=None, start_date=START):

    @task(retries=1, retry_delay=AT_ONCE)
    def killed_once():
        if try_number() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return "survived"

    @task
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def leaves_with_code():
        os._exit(3)

    @task
    def leaves_with_zero():
        os._exit(0)

    @task
    def raises_system_exit():
        sys.exit(1)

    @task
    def raises_system_exit_zero():
        sys.exit(0)

    @task(trigger_rule="all_done")
    def last():
        pass

    [
        killed_once(), killed(), leaves_with_code(), leaves_with_zero(), raises_system_exit(),
        raises_system_exit_zero(),
    ] >> last()  # fmt: skip

with DAG("execution_timeout", schedule=None, start_date=START):

    @task(execution_timeout=timedelta(seconds=1), retries=1, retry_delay=AT_ONCE)
    def too_slow():
        time.sleep(60)

    @task(execution_timeout=timedelta(seconds=30))
    def fast_enough():
        pass

    too_slow()
    fast_enough()

with DAG(
    "callbacks_failure",
    schedule=None,
    start_date=START,
    on_failure_callback=trace("dag_failure"),
    on_success_callback=trace("dag_success"),
):

    @task(
        retries=1,
        retry_delay=AT_ONCE,
        on_execute_callback=trace("task_execute"),
        on_retry_callback=trace("task_retry"),
        on_failure_callback=trace("task_failure"),
        on_success_callback=trace("task_success"),
    )
    def fails():
        raise AirflowException("for the callbacks")

    @task(on_skipped_callback=trace("task_skipped"))
    def skipped():
        raise AirflowSkipException("for the callback")

    fails()
    skipped()

with DAG(
    "callbacks_success",
    schedule=None,
    start_date=START,
    on_failure_callback=trace("dag_failure"),
    on_success_callback=trace("dag_success"),
):

    @task(on_success_callback=[trace("task_success"), trace("task_success_second")])
    def succeeds():
        return 1

    succeeds()

with DAG("callback_after_kill", schedule=None, start_date=START):

    @task(on_failure_callback=trace("task_failure"))
    def killed_with_callback():
        os.kill(os.getpid(), signal.SIGKILL)

    killed_with_callback()
