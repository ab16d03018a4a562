"""Callbacks of missed deadlines that an executor calls, and deadlines that depend on a Variable or a plugin.

A callback leaves a file under `$AIRFLOW_HOME/conformance/<dag_id>/`, the only trace that survives its process.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pendulum
from conformance_deadlines import DayOfRun

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseNotifier, DeadlineAlert, DeadlineReference, SyncCallback, Variable
from airflow.sdk.definitions.deadline import VariableInterval

START = pendulum.datetime(2026, 1, 1, tz="UTC")
LONG_AGO = DeadlineReference.FIXED_DATETIME(datetime(2020, 1, 1, tzinfo=UTC))
A_MOMENT = timedelta(seconds=1)


def leave(context, text: str) -> None:
    run = context["dag_run"]
    folder = Path(os.environ["AIRFLOW_HOME"]) / "conformance" / run["dag_id"]
    folder.mkdir(parents=True, exist_ok=True)
    told = f"{sorted(context)} {sorted(context['deadline'])} {run['dag_run_id']} {run['conf']}"
    (folder / "callback.txt").write_text(f"{text}\n{told}\n")


def note(context, text: str, moment: datetime, length: timedelta):
    leave(context, f"{text} {moment.isoformat()} {length}")


def note_variable(context):
    leave(context, Variable.get("conformance_seconds"))


def fail():
    raise LookupError("on purpose")


class Notifier(BaseNotifier):
    template_fields = ("text",)

    def __init__(self, text: str, **kwargs):
        super().__init__(**kwargs)
        self.text = text

    def notify(self, context):
        leave(context, self.text)


CALLBACKS = {
    "deadline_calls_function": SyncCallback(
        note, kwargs={"text": "late", "moment": datetime(2026, 1, 2, tzinfo=UTC), "length": timedelta(minutes=1)}
    ),
    "deadline_calls_notifier": SyncCallback(Notifier, kwargs={"text": "late"}),
    "deadline_callback_reads_variable": SyncCallback(note_variable),
    "deadline_callback_fails": SyncCallback(fail),
    "deadline_callback_is_missing": SyncCallback("textwrap.no_such_function"),
}

for dag_id, callback in CALLBACKS.items():
    with DAG(
        dag_id,
        schedule=None,
        start_date=START,
        deadline=DeadlineAlert(reference=LONG_AGO, interval=A_MOMENT, callback=callback, name="passed"),
    ):
        EmptyOperator(task_id="succeeds")

ELSEWHERE = SyncCallback("textwrap.dedent", kwargs={"text": "x"})

with DAG(
    "deadline_by_variable",
    schedule=None,
    start_date=START,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=VariableInterval("conformance_seconds"),
        callback=ELSEWHERE,
        name="variable",
    ),
):
    EmptyOperator(task_id="succeeds")

with DAG(
    "deadline_by_plugin",
    schedule=None,
    start_date=START,
    deadline=[
        DeadlineAlert(
            reference=DayOfRun(days=3), interval=timedelta(hours=1), callback=ELSEWHERE, name="passed"
        ),
        DeadlineAlert(
            reference=DayOfRun(days=30_000), interval=timedelta(hours=1), callback=ELSEWHERE, name="met"
        ),
        DeadlineAlert(reference=DayOfRun(days=None), interval=timedelta(hours=1), callback=ELSEWHERE, name="none"),
    ],
):
    EmptyOperator(task_id="succeeds")
