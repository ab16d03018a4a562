"""Task groups, set-up and tear-down."""

from __future__ import annotations

import time

import pendulum

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, setup, task, task_group, teardown
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

START = pendulum.datetime(2026, 1, 1, tz="UTC")


@task
def fine():
    return "fine"


@task
def broken():
    raise AirflowException("broken on purpose")


@task
def skipping():
    raise AirflowSkipException("skipped on purpose")


@setup
def make_resource():
    return "resource"


@setup
def broken_setup():
    raise AirflowException("no resource")


@setup
def skipping_setup():
    raise AirflowSkipException("no resource needed")


@task
def drop_resource():
    return "dropped"


@task
def cannot_drop():
    raise AirflowException("cannot drop")


@teardown(on_failure_fail_dagrun=True)
def decorated_teardown():
    raise AirflowException("must be dropped")


with DAG("groups_nested", schedule=None, start_date=START):
    with TaskGroup("outer") as outer:
        with TaskGroup("inner", prefix_group_id=False) as inner:
            fine.override(task_id="unprefixed")()
        inner >> fine()
    outer >> EmptyOperator(task_id="after")
    with TaskGroup("empty_group") as empty_group:
        pass
    outer >> empty_group >> EmptyOperator(task_id="after_empty_group")

with DAG("groups_failing", schedule=None, start_date=START):

    @task_group(default_args={"retries": 0})
    def section():
        fine() >> broken() >> fine.override(task_id="unreached")()
        skipping()

    section() >> [
        EmptyOperator(task_id="all_success"),
        EmptyOperator(task_id="all_done", trigger_rule="all_done"),
        EmptyOperator(task_id="none_failed", trigger_rule="none_failed"),
    ]

# What the Dag run and the tear-down make of each end of the work, and of each end of the set-up.
for name, work in {"succeeds": fine, "fails": broken, "is_skipped": skipping}.items():
    with DAG(f"teardown_after_work_{name}", schedule=None, start_date=START):
        resource = make_resource()
        end = drop_resource()
        resource >> work() >> end >> EmptyOperator(task_id="after")
        end.as_teardown(setups=resource)

for name, make in {"fails": broken_setup, "is_skipped": skipping_setup}.items():
    with DAG(f"teardown_after_setup_{name}", schedule=None, start_date=START):
        resource = make()
        resource >> fine() >> drop_resource().as_teardown(setups=resource)

with DAG("teardown_fails", schedule=None, start_date=START):
    resource = make_resource()
    resource >> fine() >> cannot_drop().as_teardown(setups=resource)

with DAG("teardown_fails_dagrun", schedule=None, start_date=START):
    resource = make_resource()
    resource >> fine() >> cannot_drop().as_teardown(setups=resource, on_failure_fail_dagrun=True)

with DAG("teardown_of_two_setups", schedule=None, start_date=START):
    first, second = make_resource.override(task_id="first")(), broken_setup.override(task_id="second")()
    end = drop_resource()
    [first, second] >> fine() >> end
    end.as_teardown(setups=[first, second])

with DAG("teardown_in_group", schedule=None, start_date=START):
    with TaskGroup("section") as section:
        resource = make_resource()
        resource >> broken() >> drop_resource().as_teardown(setups=resource)
    section >> EmptyOperator(task_id="after_section")

with DAG("teardown_only", schedule=None, start_date=START):
    fine() >> decorated_teardown()

with DAG("fail_fast", schedule=None, start_date=START, fail_fast=True):

    @task
    def slow():
        time.sleep(60)

    @task
    def broken_later():
        time.sleep(3)
        raise AirflowException("broken on purpose")

    resource = make_resource()
    end = drop_resource()
    # The slow task runs while the other fails; the waiting one never starts.
    resource >> [slow(), broken_later()] >> fine() >> end
    end.as_teardown(setups=resource)
