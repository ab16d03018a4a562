"""Trigger rules where the upstream or the task itself is mapped, or lies in a group.

Outcomes that need no process are made by `EmptyOperator`, so that a Dag has few tasks that run.
"""

from __future__ import annotations

import itertools
import time

import pendulum

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, TriggerRule, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

START = pendulum.datetime(2026, 1, 1, tz="UTC")
RULES = [
    "all_success", "all_failed", "all_done", "all_done_min_one_success", "one_success", "one_failed", "one_done",
    "none_failed", "none_failed_min_one_success", "none_skipped", "all_skipped", "always",
]  # fmt: skip
SECONDS_BETWEEN = 2
OUTCOMES = ("success", "skipped", "failed", "upstream_failed")

# What the indexes of a mapped task come to, one after the other.
MIXTURES = {
    "all_succeed": ["success", "success"],
    "all_skip": ["skipped", "skipped"],
    "all_fail": ["failed", "failed"],
    "skip_then_success": ["skipped", "success"],
    "success_then_skip": ["success", "skipped"],
    "fail_then_success": ["failed", "success"],
    "success_then_fail": ["success", "failed"],
    "fail_then_skip": ["failed", "skipped"],
    "skip_then_fail": ["skipped", "failed"],
    "of_zero_length": [],
}


def empty(task_id: str, rule: str = "all_success") -> EmptyOperator:
    return EmptyOperator(task_id=task_id, trigger_rule=TriggerRule(rule))


@task(max_active_tis_per_dagrun=1)
def end_as(outcome: str):
    """One at a time, so that the tasks downstream are examined between two of them."""
    if get_current_context()["ti"].map_index > 0:
        time.sleep(SECONDS_BETWEEN)
    if outcome == "skipped":
        raise AirflowSkipException("skipped on purpose")
    if outcome == "failed":
        raise AirflowException("failed on purpose")
    return outcome


def with_each_outcome() -> dict[str, EmptyOperator]:
    """A task for each outcome that a task can have, of which only one needs a process."""
    success = empty("success")
    skipped = empty("skipped", "all_failed")
    success >> skipped
    failed = end_as.override(task_id="failed")("failed")
    upstream_failed = empty("upstream_failed")
    failed >> upstream_failed
    return {"success": success, "skipped": skipped, "failed": failed, "upstream_failed": upstream_failed}


# Every rule after a mapped task, alone and together with a task that has succeeded.
for name, outcomes in MIXTURES.items():
    with DAG(f"trigger_rule_after_mapped_{name}", schedule=None, start_date=START):
        mapped = end_as.expand(outcome=outcomes)
        beside = empty("beside")
        for rule in RULES:
            mapped >> empty(f"{rule}_alone", rule)
            [mapped, beside] >> empty(f"{rule}_beside_success", rule)

# Every rule on a mapped task, over every combination of upstream outcomes.
for rule in RULES:
    with DAG(f"trigger_rule_on_mapped_{rule}", schedule=None, start_date=START):
        producers = with_each_outcome()
        for size in range(1, len(OUTCOMES) + 1):
            for combination in itertools.combinations(OUTCOMES, size):
                target = EmptyOperator.partial(task_id="after_" + "__".join(combination), trigger_rule=rule).expand(
                    doc_md=["one", "two"]
                )
                [producers[outcome] for outcome in combination] >> target

# Every rule after a group, whose leaves count one by one.
with DAG("trigger_rule_after_groups", schedule=None, start_date=START):
    source = with_each_outcome()
    for name, leaves in {
        "succeeding": ["success"],
        "skipping_one": ["success", "skipped"],
        "failing_one": ["success", "failed"],
        "failing_above": ["success", "upstream_failed"],
        "skipping_all": ["skipped"],
        "mixed": list(OUTCOMES),
    }.items():
        with TaskGroup(f"group_{name}") as group:
            for number, outcome in enumerate(leaves):
                # Ends as its upstream did, for nothing else can make an empty task fail.
                source[outcome] >> empty(f"leaf_{number}_{outcome}")
        for rule in RULES:
            group >> empty(f"{rule}_after_{name}", rule)

# Every rule within a mapped group, where an index sees its own upstream, and after it, where all are seen.
for name, outcomes in MIXTURES.items():
    with DAG(f"trigger_rule_in_mapped_group_{name}", schedule=None, start_date=START):

        @task_group
        def section(outcome):
            ended = end_as(outcome)
            for rule in RULES:
                if rule != "always":  # refused within a mapped group
                    ended >> empty(rule, rule)
            ended >> empty("leaf")

        sections = section.expand(outcome=outcomes)
        for rule in RULES:
            sections >> empty(f"{rule}_after", rule)
