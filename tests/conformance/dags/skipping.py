"""Branches, short circuits and `LatestOnlyOperator` across groups, mapped tasks and trigger rules."""

from __future__ import annotations

import pendulum

from airflow.providers.standard.operators.datetime import BranchDateTimeOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.latest_only import LatestOnlyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, ShortCircuitOperator
from airflow.providers.standard.operators.weekday import BranchDayOfWeekOperator
from airflow.sdk import DAG, TaskGroup, task, task_group

START = pendulum.datetime(2026, 1, 1, tz="UTC")
# The rules under which a task may run although something upstream was skipped, and the usual one.
RULES = (
    "all_success", "none_failed", "none_failed_min_one_success", "all_done", "one_success", "all_skipped", "always",
)  # fmt: skip


def empty(task_id: str, rule: str = "all_success") -> EmptyOperator:
    return EmptyOperator(task_id=task_id, trigger_rule=rule)


def branch(task_id: str, *follow: str) -> BranchPythonOperator:
    return BranchPythonOperator(task_id=task_id, python_callable=lambda: list(follow))


with DAG("branch_nested", schedule=None, start_date=START):
    outer, inner, never = branch("outer", "inner"), branch("inner", "inner_left"), branch("never", "never_left")
    outer >> [inner, never]
    inner >> [empty("inner_left"), empty("inner_right")] >> empty("inner_join", "none_failed_min_one_success")
    never >> [empty("never_left"), empty("never_right")] >> empty("never_join", "none_failed_min_one_success")

# A join under every rule, of a way taken and a way not taken, and of two ways not taken.
with DAG("branch_joins", schedule=None, start_date=START):
    choice = branch("choice", "taken")
    taken, refused, refused_too = empty("taken"), empty("refused"), empty("refused_too")
    choice >> [taken, refused, refused_too]
    for rule in RULES:
        [taken, refused] >> empty(f"{rule}_of_both", rule)
        [refused, refused_too] >> empty(f"{rule}_of_none", rule)
        [choice, refused] >> empty(f"{rule}_with_the_branch", rule)

with DAG("branch_into_groups", schedule=None, start_date=START):
    choice = branch("choice", "taken", "outer.inner", "single.second")
    with TaskGroup("taken") as whole:
        empty("first") >> empty("second") >> empty("any_way", "all_done")
    with TaskGroup("outer") as outer:
        with TaskGroup("inner") as inner:
            empty("deep_one") >> empty("deep_two")
        inner >> empty("after_inner")
        empty("beside_inner")
    with TaskGroup("single") as single:
        empty("first")
        empty("second")
    with TaskGroup("refused") as refused:
        empty("first") >> empty("second") >> empty("any_way", "none_failed")
        with TaskGroup("within"):
            empty("leaf")
    choice >> [whole, outer, single, refused]
    for rule in RULES:
        [whole, refused] >> empty(f"{rule}_after", rule)

with DAG("branch_out_of_group", schedule=None, start_date=START):
    with TaskGroup("section") as section:
        choice = branch("choice", "section.inside")
        choice >> [empty("inside"), empty("also_inside")]
    outside = empty("outside")
    choice >> outside >> empty("after_outside")
    section >> empty("after_section")
    section >> empty("after_section_any_way", "none_failed")

with DAG("branch_to_mapped", schedule=None, start_date=START):
    choice = branch("choice", "taken", "taken_group.inside")
    taken = EmptyOperator.partial(task_id="taken").expand(doc_md=["a", "b"])
    refused = EmptyOperator.partial(task_id="refused").expand(doc_md=["a", "b"])

    @task_group
    def taken_group(n):
        empty("inside")
        empty("beside")

    @task_group
    def refused_group(n):
        empty("inside") >> empty("below") >> empty("any_way", "all_done")

    ways = [taken, refused, taken_group.expand(n=[1, 2]), refused_group.expand(n=[1, 2])]
    choice >> ways
    for rule in RULES:
        [taken, refused] >> empty(f"{rule}_after_tasks", rule)
        ways[2:] >> empty(f"{rule}_after_groups", rule)

with DAG("branch_within_mapped_group", schedule=None, start_date=START):

    @task_group
    def section(n):
        @task.branch
        def choose(n):
            return "section.odd" if n % 2 else "section.even"

        odd, even = empty("odd"), empty("even")
        choose(n) >> [odd, even]
        for rule in RULES:
            if rule != "always":  # refused within a mapped group
                [odd, even] >> empty(f"join_{rule}", rule)

    section.expand(n=[1, 2]) >> empty("after", "none_failed")

with DAG("branch_to_itself_and_beyond", schedule=None, start_date=START):
    # Names a task that is no direct downstream one: nothing follows, and all that is direct is skipped.
    choice = branch("choice", "beyond")
    choice >> empty("direct") >> empty("beyond") >> empty("end", "all_done")

with DAG("branch_by_date", schedule=None, start_date=START):
    for name, lower, upper in (("within", 2025, 2027), ("before", 2027, 2028), ("after", 2024, 2025)):
        choice = BranchDateTimeOperator(
            task_id=f"date_{name}",
            follow_task_ids_if_true=[f"{name}_true"],
            follow_task_ids_if_false=[f"{name}_false"],
            target_lower=pendulum.datetime(lower, 1, 1, tz="UTC"),
            target_upper=pendulum.datetime(upper, 1, 1, tz="UTC"),
            use_task_logical_date=True,
        )
        choice >> [empty(f"{name}_true"), empty(f"{name}_false")]
    # The first of January 2026 is a Thursday.
    weekday = BranchDayOfWeekOperator(
        task_id="weekday",
        follow_task_ids_if_true="thursday",
        follow_task_ids_if_false="other_day",
        week_day="Thursday",
        use_task_logical_date=True,
    )
    weekday >> [empty("thursday"), empty("other_day")]

# What is skipped behind a closed circuit: everything below, or only what comes directly after it.
for ignoring in (True, False):
    with DAG(
        f"short_circuit_{'ignores' if ignoring else 'respects'}_rules_below", schedule=None, start_date=START
    ):
        closed = ShortCircuitOperator(
            task_id="closed", python_callable=lambda: False, ignore_downstream_trigger_rules=ignoring
        )
        beside = empty("beside")
        with TaskGroup("section") as section:
            empty("first") >> empty("second")
        mapped = EmptyOperator.partial(task_id="mapped").expand(doc_md=["a", "b"])
        closed >> [section, mapped]
        for rule in RULES:
            closed >> empty(f"{rule}_direct", rule)
            [section, beside] >> empty(f"{rule}_after_section", rule)
            mapped >> empty(f"{rule}_after_mapped", rule)

with DAG("short_circuit_within_mapped_group", schedule=None, start_date=START):

    @task_group
    def section(n):
        @task.short_circuit
        def positive(n):
            return n > 0

        positive(n) >> empty("below") >> empty("any_way", "all_done")

    section.expand(n=[0, 1]) >> empty("after", "none_failed")

with DAG("short_circuit_chain", schedule=None, start_date=START):
    opened = ShortCircuitOperator(task_id="opened", python_callable=lambda: [1])
    closed = ShortCircuitOperator(task_id="closed", python_callable=lambda: None)
    opened >> closed >> empty("below")
    opened >> empty("beside") >> empty("join", "none_failed_min_one_success")
    closed >> empty("between") >> empty("between_too") >> empty("last", "one_success")

with DAG("latest_only_in_group", schedule="@daily", start_date=START, end_date=START.add(days=1), catchup=True):
    latest = LatestOnlyOperator(task_id="latest_only")
    with TaskGroup("section") as section:
        empty("first") >> empty("second")
    latest >> section
    beside = empty("beside")
    for rule in RULES:
        latest >> empty(f"{rule}_direct", rule)
        [section, beside] >> empty(f"{rule}_after", rule)

# How far a skip or a failure goes through groups in groups, and where a rule ends it.
for outcome, rule in {"skip": "all_failed", "failure": "all_success"}.items():
    with DAG(f"groups_pass_on_a_{outcome}", schedule=None, start_date=START):

        @task
        def broken():
            raise ValueError("broken on purpose")

        # Skipped, because nothing failed; or failed.
        source = empty("source", rule) if outcome == "skip" else broken.override(task_id="source")()
        empty("above") >> source
        with TaskGroup("outer") as outer:
            with TaskGroup("first") as first:
                empty("a") >> empty("b")
            with TaskGroup("second") as second:
                empty("c") >> empty("d", "all_done") >> empty("e")
            first >> second
        source >> outer
        with TaskGroup("last") as last:
            empty("f", "none_failed") >> empty("g", "none_skipped") >> empty("h", "one_done")
        outer >> last
        first >> empty("beside", "none_failed_min_one_success")
