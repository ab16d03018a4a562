"""Time-outs, deadlines, and callbacks of attempts whose process says nothing of their end.

A callback leaves a file under `$AIRFLOW_HOME/conformance/<dag_id>/`, the only trace that survives its process.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pendulum

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, AsyncCallback, BaseOperator, DeadlineAlert, DeadlineReference, SyncCallback, task
from airflow.sdk.exceptions import AirflowException

START = pendulum.datetime(2026, 1, 1, tz="UTC")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
A_MOMENT = timedelta(seconds=1)


def trace(name: str):
    """A callback that notes what it was called for."""

    def callback(context):
        folder = Path(os.environ["AIRFLOW_HOME"]) / "conformance" / context["dag"].dag_id
        folder.mkdir(parents=True, exist_ok=True)
        ti = context["ti"]
        (folder / f"{name}_{ti.task_id}_{ti.try_number}").write_text(
            f"{ti.task_id} try {ti.try_number} of {ti.max_tries + 1}, run {context['dag_run'].run_id}\n"
        )

    return callback


class Defers(BaseOperator):
    """Waits for longer than it allows."""

    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(hours=1)), method_name="go_on", timeout=A_MOMENT)

    def go_on(self, context, event=None):
        return event


with DAG("callback_after_silent_exit", schedule=None, start_date=START):

    @task(
        retries=1,
        retry_delay=timedelta(seconds=0),
        on_retry_callback=trace("retry"),
        on_failure_callback=trace("failure"),
    )
    def says_nothing():
        os._exit(0)

    says_nothing()

with DAG("trigger_times_out", schedule=None, start_date=START):
    Defers(task_id="defers", on_failure_callback=trace("failure"))

with DAG("question_times_out", schedule=None, start_date=START):
    HITLOperator(task_id="asks", subject="?", options=["yes", "no"], response_timeout=A_MOMENT)

with DAG(
    "deadline_met",
    schedule=None,
    start_date=START,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=1),
        callback=AsyncCallback("asyncio.sleep", kwargs={"delay": 0}),
    ),
):
    EmptyOperator(task_id="succeeds")

with DAG(
    "deadline_of_failed_run",
    schedule=None,
    start_date=START,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=timedelta(days=100_000),
        callback=SyncCallback("textwrap.dedent", kwargs={"text": "x"}),
    ),
):

    @task
    def fails():
        raise AirflowException("before the deadline")

    fails()

with DAG(
    "deadlines_missed",
    schedule=None,
    start_date=START,
    deadline=[
        DeadlineAlert(
            reference=DeadlineReference.FIXED_DATETIME(LONG_AGO),
            interval=A_MOMENT,
            callback=AsyncCallback(
                "asyncio.sleep", kwargs={"delay": 0, "result": {"when": LONG_AGO, "for": A_MOMENT, "all": [1, {"a": (2,)}]}}
            ),
            name="asynchronous",
        ),
        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
            interval=timedelta(days=-1),
            callback=SyncCallback("textwrap.dedent", kwargs={"text": "x"}),
            name="synchronous",
        ),
        DeadlineAlert(
            reference=DeadlineReference.AVERAGE_RUNTIME(max_runs=5, min_runs=2),
            interval=A_MOMENT,
            callback=AsyncCallback("asyncio.sleep", kwargs={"delay": 0}),
            name="without enough runs",
        ),
    ],
):
    EmptyOperator(task_id="succeeds")
