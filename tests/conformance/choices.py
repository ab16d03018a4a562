"""Dags that branch at random: recorded once per value that each branching task can return.

A branching task decides only the facts of itself and of the tasks named in its `Choice`. That this is so is checked,
not assumed: every run in which a choice was made must show the same facts for it.
"""

from __future__ import annotations

from dataclasses import replace

from runs import SKIP_MIXIN_KEY, Recorder
from scenario import Choice, Scenario, Trigger

MOST_RUNS = 40


def _followed(tasks: dict, choice: Choice) -> str:
    """The branch taken, from the XCom by which Airflow itself remembers it."""
    return tasks[f"{choice.task_id}[-1]"]["xcoms"][SKIP_MIXIN_KEY]["value"]["followed"][0]


def _facts(tasks: dict, choice: Choice) -> dict:
    return {name: tasks[name] for name in (f"{task}[-1]" for task in (choice.task_id, *choice.decides))}


def _merge(known: dict, name: str, facts, what: str) -> None:
    if known.setdefault(name, facts) != facts:
        raise RuntimeError(f"{what}: the facts of {name} differ between runs that made the same choice")


def play(recorder: Recorder, scenario: Scenario) -> dict:
    """Runs until every value of every choice was seen; answers fixed facts and facts per choice and value."""
    fixed: dict = {}
    seen: dict = {choice.task_id: {} for choice in scenario.choices}
    for number in range(MOST_RUNS):
        trigger = Trigger(f"conformance_{number}", f"2026-01-{number + 1:02}T00:00:00Z")
        run = recorder.play(replace(scenario, runs=(trigger,)))["runs"][0]
        tasks = run["task_instances"]
        for choice in scenario.choices:
            facts = _facts(tasks, choice)
            _merge(seen[choice.task_id], _followed(tasks, choice), facts, scenario.dag_id)
            for name in facts:
                del tasks[name]
        for name, facts in tasks.items():
            _merge(fixed, name, facts, scenario.dag_id)
        if all(set(seen[choice.task_id]) >= set(choice.returns) for choice in scenario.choices):
            fixed_run = {"trigger": None, "dag_run": {"state": run["dag_run"]["state"]}, "task_instances": fixed}
            return {"dag_id": scenario.dag_id, "bundle": scenario.bundle, "runs": [fixed_run], "choices": seen}
    raise RuntimeError(f"{scenario.dag_id}: not every branch was seen in {MOST_RUNS} runs")


def replay(recorder: Recorder, scenario: Scenario, recorded: dict) -> dict:
    """Runs once; answers the facts, and under `expected` what was recorded for the branches that were taken."""
    trigger = Trigger("conformance", "2026-01-01T00:00:00Z")
    run = recorder.play(replace(scenario, runs=(trigger,)))["runs"][0]
    tasks = run["task_instances"]
    expected = dict(recorded["runs"][0]["task_instances"])
    for choice in scenario.choices:
        expected |= recorded["choices"][choice.task_id][_followed(tasks, choice)]
    state = recorded["runs"][0]["dag_run"]["state"]
    found = {"state": run["dag_run"]["state"], "task_instances": tasks}
    return found | {"expected": {"state": state, "task_instances": expected}}
