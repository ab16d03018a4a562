"""Setup and teardown: every mixture of how setup, work and teardown end, and scopes that nest, branch or are mapped."""

from __future__ import annotations

import itertools

import pendulum

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from airflow.sdk import DAG, TaskGroup, task, task_group
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

START = pendulum.datetime(2026, 1, 1, tz="UTC")


def raise_skip():
    raise AirflowSkipException("skipped on purpose")


def raise_failure():
    raise AirflowException("failed on purpose")


def ending(task_id: str, outcome: str = "success", **arguments):
    """A task that ends so; only an end that needs a process has one."""
    if outcome == "success":
        return EmptyOperator(task_id=task_id, **arguments)
    callables = {"skipped": raise_skip, "failed": raise_failure}
    return PythonOperator(task_id=task_id, python_callable=callables[outcome], **arguments)


OUTCOMES = ("success", "skipped", "failed")
for made, worked, dropped in itertools.product(OUTCOMES, OUTCOMES, OUTCOMES):
    if made != "success" and worked != "success":
        continue  # the work is never reached
    with DAG(f"setup_{made}_work_{worked}_teardown_{dropped}", schedule=None, start_date=START):
        # Two tear-downs: one whose failure counts for the Dag run, and one whose does not.
        for name, counts in (("counts", True), ("does_not", False)):
            setup = ending(f"setup_{name}", made if counts else "success")
            work = ending(f"work_{name}", worked if counts else "success")
            teardown = ending(f"teardown_{name}", dropped)
            setup >> work >> teardown.as_teardown(setups=setup, on_failure_fail_dagrun=counts)
            teardown >> EmptyOperator(task_id=f"after_{name}")

with DAG("teardown_failure_does_not_count", schedule=None, start_date=START):
    setup, work, teardown = ending("setup"), ending("work"), ending("teardown", "failed")
    setup >> work >> teardown.as_teardown(setups=setup)
    work >> EmptyOperator(task_id="leaf")

# A failed task of the work counts though a teardown that succeeded is the leaf.
for outcome in ("skipped", "failed"):
    with DAG(f"setups_nested_work_{outcome}", schedule=None, start_date=START):
        outer_setup, inner_setup = ending("outer_setup"), ending("inner_setup")
        outer_teardown, inner_teardown = ending("outer_teardown"), ending("inner_teardown")
        outer_setup >> inner_setup >> ending("work", outcome) >> inner_teardown >> outer_teardown
        inner_teardown.as_teardown(setups=inner_setup)
        outer_teardown.as_teardown(setups=outer_setup)
        inner_setup >> EmptyOperator(task_id="beside") >> outer_teardown

for outcome in ("skipped", "failed"):
    with DAG(f"setups_nested_inner_setup_{outcome}", schedule=None, start_date=START):
        outer_setup, inner_setup = ending("outer_setup"), ending("inner_setup", outcome)
        outer_teardown, inner_teardown = ending("outer_teardown"), ending("inner_teardown")
        outer_setup >> inner_setup >> ending("work") >> inner_teardown >> outer_teardown
        inner_teardown.as_teardown(setups=inner_setup)
        outer_teardown.as_teardown(setups=outer_setup)

for first, second in itertools.combinations_with_replacement(OUTCOMES, 2):
    if (first, second) == ("skipped", "failed"):
        continue  # whichever ends first decides
    with DAG(f"setups_parallel_{first}_and_{second}", schedule=None, start_date=START):
        setups = [ending("first", first), ending("second", second)]
        teardown = ending("teardown")
        setups >> ending("work") >> teardown
        teardown.as_teardown(setups=setups)

with DAG("setup_without_teardown", schedule=None, start_date=START):
    for outcome in OUTCOMES:
        setup = ending(f"setup_{outcome}", outcome).as_setup()
        setup >> ending(f"work_{outcome}") >> EmptyOperator(task_id=f"after_{outcome}", trigger_rule="all_done")

with DAG("teardown_without_setup", schedule=None, start_date=START):
    for outcome in OUTCOMES:
        ending(f"work_{outcome}", outcome) >> ending(f"teardown_{outcome}").as_teardown()

with DAG("teardown_as_context", schedule=None, start_date=START):
    setup, teardown = ending("setup"), ending("teardown")
    with teardown.as_teardown(setups=setup):
        ending("first", "failed") >> ending("second")
        ending("beside")
    setup >> EmptyOperator(task_id="out_of_scope")

# A tear-down of the group's own does not hold up what comes after the group.
with DAG("setups_in_groups", schedule=None, start_date=START):
    with TaskGroup("failing") as failing:
        setup = ending("setup")
        setup >> ending("work") >> ending("teardown", "failed").as_teardown(setups=setup)
    with TaskGroup("second") as second:
        setup = ending("setup")
        setup >> ending("work", "skipped") >> ending("teardown").as_teardown(setups=setup)
    failing >> second >> EmptyOperator(task_id="after", trigger_rule="none_failed")
    with TaskGroup("only_setup") as only_setup:
        ending("setup").as_setup()
    only_setup >> EmptyOperator(task_id="after_only_setup")

with DAG("setups_around_groups", schedule=None, start_date=START):
    setup, teardown = ending("setup"), ending("teardown")
    with TaskGroup("section") as section:
        with TaskGroup("inner"):
            ending("one") >> ending("two", "failed") >> ending("three")
        ending("four")
    setup >> section >> teardown
    teardown.as_teardown(setups=setup)

with DAG("setups_around_mapped", schedule=None, start_date=START):
    setup, teardown = ending("setup"), ending("teardown")

    @task(max_active_tis_per_dagrun=1)
    def work(n):
        if n == 1:
            raise AirflowException("one")
        return n

    setup >> work.expand(n=[0, 1]) >> teardown
    teardown.as_teardown(setups=setup)

with DAG("setups_mapped", schedule=None, start_date=START):

    @task
    def make(n):
        return n

    @task
    def drop(n):
        return n

    made = make.expand(n=[1, 2])
    dropped = drop.expand(n=made)
    made >> ending("work", "failed") >> dropped.as_teardown(setups=made)

with DAG("setups_in_mapped_group", schedule=None, start_date=START):

    @task_group
    def section(n):
        @task
        def work(n):
            if n == 1:
                raise AirflowException("one")

        setup, teardown = ending("setup"), ending("teardown")
        setup >> work(n) >> teardown
        teardown.as_teardown(setups=setup)

    section.expand(n=[0, 1]) >> EmptyOperator(task_id="after", trigger_rule="all_done")

# What skips the work does not skip the tear-down of a setup that has run.
with DAG("setups_and_short_circuits", schedule=None, start_date=START):
    for ignoring in (True, False):
        name = "ignoring" if ignoring else "respecting"
        setup, teardown = ending(f"setup_{name}"), ending(f"teardown_{name}")
        closed = ShortCircuitOperator(
            task_id=f"closed_{name}", python_callable=lambda: False, ignore_downstream_trigger_rules=ignoring
        )
        setup >> closed >> ending(f"work_{name}") >> teardown
        teardown.as_teardown(setups=setup)
        above = ShortCircuitOperator(
            task_id=f"above_{name}", python_callable=lambda: False, ignore_downstream_trigger_rules=ignoring
        )
        late, late_teardown = ending(f"late_setup_{name}"), ending(f"late_teardown_{name}")
        above >> late >> ending(f"late_work_{name}") >> late_teardown
        late_teardown.as_teardown(setups=late)

with DAG("setups_and_branches", schedule=None, start_date=START):
    choice = BranchPythonOperator(task_id="choice", python_callable=lambda: "taken_setup")
    for name in ("taken", "refused"):
        setup, teardown = ending(f"{name}_setup"), ending(f"{name}_teardown")
        choice >> setup >> ending(f"{name}_work") >> teardown
        teardown.as_teardown(setups=setup)

for outcome in ("skipped", "failed"):
    with DAG(f"fail_fast_after_{outcome}", schedule=None, start_date=START, fail_fast=True):
        setup, teardown = ending("setup"), ending("teardown")
        first = ending("first", outcome)
        setup >> first >> ending("second") >> ending("third") >> teardown
        teardown.as_teardown(setups=setup)
