"""Branches, short circuits, skips and what comes after them."""

from __future__ import annotations

import pendulum

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.latest_only import LatestOnlyOperator
from airflow.sdk import DAG, Label, TaskGroup, task

START = pendulum.datetime(2026, 1, 1, tz="UTC")


def empty(task_id: str, **arguments) -> EmptyOperator:
    return EmptyOperator(task_id=task_id, **arguments)


with DAG("branch_and_join", schedule=None, start_date=START):

    @task.branch
    def choose():
        return "left"

    @task
    def left():
        return "went left"

    chosen = choose()
    join = empty("join", trigger_rule="none_failed_min_one_success")
    strict_join = empty("strict_join")
    right = empty("right")
    chosen >> Label("a") >> left() >> [join, strict_join]
    chosen >> Label("b") >> right >> empty("right_follow") >> [join, strict_join]
    chosen >> join

with DAG("branch_to_several", schedule=None, start_date=START):

    @task.branch
    def several():
        return ["one", "two"]

    several() >> [empty("one"), empty("two"), empty("three")] >> empty("end", trigger_rule="all_done")

with DAG("branch_to_none", schedule=None, start_date=START):

    @task.branch
    def nothing():
        return None

    @task.branch
    def empty_list():
        return []

    nothing() >> [empty("a"), empty("b")] >> empty("after_nothing", trigger_rule="none_failed")
    empty_list() >> [empty("c"), empty("d")] >> empty("after_empty_list", trigger_rule="all_skipped")

with DAG("branch_to_unknown", schedule=None, start_date=START):

    @task.branch
    def unknown():
        return "no_such_task"

    unknown() >> empty("known")

with DAG("branch_to_group", schedule=None, start_date=START):

    @task.branch
    def choose_group():
        return "chosen_group"

    @task.branch
    def choose_inside():
        return "refused_group.inner_two"

    selected = choose_group()
    with TaskGroup("chosen_group") as chosen_group:
        empty("first") >> empty("second")
    with TaskGroup("refused_group") as refused_group:
        empty("inner_one")
        empty("inner_two")
    selected >> [chosen_group, refused_group]

with DAG("branch_skips_shared_child", schedule=None, start_date=START):

    @task.branch
    def take_long_way():
        return "way"

    # `shared` follows both the branch itself and the chosen way: it is not skipped.
    way = empty("way")
    shared = empty("shared", trigger_rule="none_failed_min_one_success")
    other = empty("other")
    decision = take_long_way()
    decision >> [way, other, shared]
    way >> shared
    other >> shared

for ignoring in (True, False):
    with DAG(f"short_circuit_{'ignoring' if ignoring else 'respecting'}", schedule=None, start_date=START):

        @task.short_circuit(ignore_downstream_trigger_rules=ignoring)
        def closed():
            return False

        @task.short_circuit(ignore_downstream_trigger_rules=ignoring)
        def opened():
            return {"any": "truth"}

        closed() >> empty("direct") >> empty("second") >> empty("done", trigger_rule="all_done")
        opened() >> empty("open_direct") >> empty("open_done", trigger_rule="all_done")

with DAG("latest_only_manual", schedule=None, start_date=START):
    latest = LatestOnlyOperator(task_id="latest_only")
    latest >> empty("latest_child") >> empty("grandchild")
    latest >> empty("always_child", trigger_rule="all_done")

with DAG("latest_only_scheduled", schedule="@daily", start_date=START, end_date=START.add(days=1), catchup=True):
    latest = LatestOnlyOperator(task_id="latest_only")
    latest >> empty("latest_child") >> empty("grandchild")
    latest >> empty("always_child", trigger_rule="all_done")

with DAG("skip_and_run_if", schedule=None, start_date=START):

    @task.run_if(lambda context: False, "not today")
    @task
    def run_if_false():
        return 1

    @task.skip_if(lambda context: False)
    @task
    def skip_if_false():
        return 2

    run_if_false() >> empty("after_run_if")
    skip_if_false() >> empty("after_skip_if")
