"""Runs scenarios on official Airflow and records how each Dag run and task instance ended."""

from __future__ import annotations

import json
import re
import time
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from asset_steps import AssetSteps
from normalise import Normaliser
from official import Official, wait_until
from psycopg.rows import dict_row
from scenario import Scenario, Trigger

FINISHED_RUN = {"success", "failed"}
UNFINISHED_TASK = {"scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule", "deferred", "awaiting_input"}

RUN = """
    select state, run_type, triggered_by, conf, logical_date, data_interval_start, data_interval_end,
           run_after, start_date is not null as started,
           end_date is not null as ended, clear_number
      from dag_run where dag_id = %s and run_id = %s"""

TASK_INSTANCES = """
    select task_id, map_index, state, try_number, max_tries, operator, custom_operator_name, task_display_name, queue,
           pool, pool_slots, priority_weight, rendered_map_index, executor, next_method,
           start_date is not null as started, end_date is not null as ended, queued_dttm is not null as queued,
           pid is not null as has_pid
      from task_instance where dag_id = %s and run_id = %s order by task_id, map_index"""

HISTORY = """
    select task_id, map_index, try_number, state from task_instance_history
     where dag_id = %s and run_id = %s order by task_id, map_index, try_number"""

XCOMS = "select task_id, map_index, key, value, dag_result from xcom where dag_id = %s and run_id = %s order by key"

RENDERED = """
    select task_id, map_index, rendered_fields from rendered_task_instance_fields
     where dag_id = %s and run_id = %s"""

ASSET_EVENTS = """
    select a.name, a.uri, e.extra, e.source_task_id, e.source_map_index
      from asset_event e join asset a on a.id = e.asset_id
     where e.source_dag_id = %s and e.source_run_id = %s order by 1, 2, 4, 5, e.extra::text"""

DEADLINES = """
    select a.name, d.missed, a.reference ->> 'reference_type' as reference,
           round(extract(epoch from d.deadline_time - case a.reference ->> 'reference_type'
               when 'DagRunQueuedAtDeadline' then r.queued_at
               when 'DagRunLogicalDateDeadline' then r.logical_date
               else '2020-01-01' end))::bigint as seconds_after_reference,
           c.type, c.fetch_method, c.bundle_name, c.priority_weight, c.data::jsonb as data,
           c.state = 'scheduled' as waits,
           case when c.type = 'executor' and d.missed then jsonb_build_object('state', c.state, 'output', c.output) end as ended
      from deadline d join dag_run r on r.id = d.dagrun_id join callback c on c.id = d.callback_id
      join deadline_alert a on a.id = d.deadline_alert_id
     where r.dag_id = %s and r.run_id = %s order by a.name, c.type"""

STARTS = """
    select run_id, task_id, map_index, start_date, end_date from task_instance
     where dag_id = %s and run_id = any(%s) and start_date is not null and pid is not null order by start_date"""

RUN_IDS = "select run_id, run_type, state from dag_run where dag_id = %s order by run_after, id"

# The XCom in which branching tasks keep what they followed or skipped.
SKIP_MIXIN_KEY = "skipmixin_key"

# How long nothing has to happen before what the scheduler made counts as complete.
QUIET_SECONDS = 15


def without_path(text: str) -> str:
    """The names that Airflow gives the modules of Dag files hold a hash of the file's path."""
    return re.sub("unusual_prefix_[0-9a-f]{40}_", "unusual_prefix_${PATH}_", text)


def without_moments(deadline: dict) -> dict:
    """A deadline whose callback is told of the moment: of that, only which fields there are."""
    data = deadline["data"]["__var"]
    data["path"] = without_path(data["path"])
    for name in ("deadline_id", "dag_run_id"):
        if name in data:
            data[name] = "${ID}"
    context = data["kwargs"]["__var"].get("context", {"__var": {}})["__var"]
    for part in context.values():
        part["__var"] = sorted(part["__var"])
    if deadline["ended"] is None:
        del deadline["ended"]
    return deadline


def without_chance(run_id: str) -> str:
    """The id of a run; that of one which assets started holds the moment and random text."""
    return "asset_triggered__${NOW}" if run_id.startswith("asset_triggered__") else run_id


def states_of(recording: dict) -> dict:
    """Of a recording what does not depend on chance: how runs and tasks ended, and after how many attempts."""
    runs = [
        {"trigger": run["trigger"], "dag_run": {"state": run["dag_run"]["state"]}}
        | {
            "task_instances": {
                name: {fact: task[fact] for fact in ("state", "try_number", "operator")}
                for name, task in run["task_instances"].items()
            }
        }
        for run in recording["runs"]
    ]
    return {"dag_id": recording["dag_id"], "bundle": recording["bundle"], "runs": runs}


def in_relation_to(today: date, recording: dict) -> dict:
    """The recording with days near `today` written as `${TODAY-1}` and so on."""
    text = json.dumps(recording)
    for days in range(-8, 9):
        text = text.replace(str(today + timedelta(days=days)), f"${{TODAY{days:+}}}")
    return json.loads(text)


class Recorder:
    def __init__(self, official: Official, normalise: Normaliser, quiet_seconds: float = QUIET_SECONDS):
        self.official = official
        self.quiet_seconds = quiet_seconds
        self.normalise = normalise
        self.connection = official.postgres.connect()
        self.files = official.home / "conformance"

    def _rows(self, query: str, *parameters) -> list[dict]:
        return self.connection.cursor(row_factory=dict_row).execute(query, parameters).fetchall()

    # -- doing -------------------------------------------------------------------------------------------------------

    def unpause(self, dag_id: str) -> None:
        self.official.rest.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def pause(self, dag_id: str) -> None:
        self.official.rest.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})

    def trigger(self, dag_id: str, trigger: Trigger) -> None:
        self.official.rest.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", trigger.body())

    def _ended(self, dag_id: str, run_id: str) -> bool:
        """The run is over and no task is left that a supervisor or the scheduler still moves."""
        state = self._rows("select state from dag_run where dag_id = %s and run_id = %s", dag_id, run_id)[0]["state"]
        if state not in FINISHED_RUN:
            return False
        tasks = self._rows("select state from task_instance where dag_id = %s and run_id = %s", dag_id, run_id)
        return all(task["state"] not in UNFINISHED_TASK for task in tasks)

    def play(self, scenario: Scenario) -> dict:
        """Triggers the scenario's runs in order and answers its recording."""
        for path in self._callback_files(scenario.dag_id):
            path.unlink()
        for dag_id in (*scenario.consumers, scenario.dag_id):
            self.unpause(dag_id)
        if scenario.steps:
            steps = AssetSteps(self)
            steps.play(scenario)
            runs = steps.with_consumed(scenario.dag_id, self._scheduled(scenario))
        elif scenario.scheduled:
            runs = self._scheduled(scenario)
        else:
            self._trigger_all(scenario)
            runs = [self._run(scenario, trigger) for trigger in scenario.runs]
        self.pause(scenario.dag_id)  # what its schedule would still make costs time
        recording = {
            "dag_id": scenario.dag_id,
            "bundle": scenario.bundle,
            "sequential": scenario.sequential,
            "scheduled": scenario.scheduled,
            "runs": runs,
            "consumers": {dag_id: self._consumer(scenario, dag_id) for dag_id in scenario.consumers},
            "callbacks": {path.name: path.read_text() for path in self._callback_files(scenario.dag_id)},
        }
        if scenario.steps:
            recording |= steps.left_over(scenario.dag_id)
        recording = self.normalise(recording | self._starts(scenario))
        if scenario.states_only:
            return states_of(recording)
        if not scenario.of_today:
            return recording
        return in_relation_to(self.normalise.began.astimezone(ZoneInfo(scenario.of_today)).date(), recording)

    def _trigger_all(self, scenario: Scenario) -> None:
        for trigger in scenario.runs:
            self.trigger(scenario.dag_id, trigger)
            if scenario.sequential:
                self._wait(scenario, trigger)
        for trigger in scenario.runs:
            self._wait(scenario, trigger)
        time.sleep(scenario.settle_seconds)

    def _wait(self, scenario: Scenario, trigger: Trigger) -> None:
        if not trigger.ends:
            time.sleep(self.quiet_seconds)
            return
        what = f"the end of {scenario.dag_id} {trigger.run_id}"
        wait_until(lambda: self._ended(scenario.dag_id, trigger.run_id), what, scenario.timeout_seconds, 0.5)

    # -- recording ---------------------------------------------------------------------------------------------------

    def _callback_files(self, dag_id: str) -> list[Path]:
        """Callbacks of the conformance Dags leave a file each, for they have no XCom to leave a trace in."""
        return sorted((self.files / dag_id).glob("*"))

    def _run(self, scenario: Scenario, trigger: Trigger) -> dict:
        return {"trigger": trigger.body(), "ends": trigger.ends} | self._facts((scenario.dag_id, trigger.run_id))

    def _facts(self, key: tuple[str, str]) -> dict:
        tasks = {}
        for row in self._rows(TASK_INSTANCES, *key):
            name = f"{row.pop('task_id')}[{row.pop('map_index')}]"
            tasks[name] = row | {"history": [], "xcoms": {}, "rendered_fields": None}
        for row in self._rows(HISTORY, *key):
            facts = {"try_number": row["try_number"], "state": row["state"]}
            tasks[f"{row['task_id']}[{row['map_index']}]"]["history"].append(facts)
        for row in self._rows(XCOMS, *key):
            if row["key"] == SKIP_MIXIN_KEY:  # made from a set
                row["value"] = {what: sorted(task_ids) for what, task_ids in row["value"].items()}
            facts = {"value": row["value"], "dag_result": row["dag_result"]}
            tasks[f"{row['task_id']}[{row['map_index']}]"]["xcoms"][row["key"]] = facts
        for row in self._rows(RENDERED, *key):
            tasks[f"{row['task_id']}[{row['map_index']}]"]["rendered_fields"] = row["rendered_fields"]
        facts = {
            "dag_run": self._rows(RUN, *key)[0],
            "task_instances": tasks,
            "asset_events": self._rows(ASSET_EVENTS, *key),
        }
        if deadlines := [without_moments(row) for row in self._rows(DEADLINES, *key)]:
            facts["deadlines"] = deadlines
        return facts

    def _starts(self, scenario: Scenario) -> dict:
        """In which order attempts started, and how many of them ran at once, over all runs of the scenario."""
        starts = self._rows(STARTS, scenario.dag_id, [trigger.run_id for trigger in scenario.runs])
        facts = {}
        if scenario.ordered:
            facts["order"] = [f"{row['run_id']}/{row['task_id']}[{row['map_index']}]" for row in starts]
        if scenario.limited:
            facts["most_at_once"] = max(
                sum(other["start_date"] <= one["start_date"] < other["end_date"] for other in starts) for one in starts
            )
        return facts

    def _scheduled(self, scenario: Scenario) -> list[dict]:
        """The runs that the scheduler creates by itself, once it has been silent for a while."""
        seen, since = None, time.monotonic()

        def silent() -> bool:
            nonlocal seen, since
            rows = self._rows(RUN_IDS, scenario.dag_id)
            if rows != seen:
                seen, since = rows, time.monotonic()
            expected = bool(scenario.steps) or bool(rows) != scenario.without_runs
            over = expected and all(row["state"] in FINISHED_RUN for row in rows)
            return over and time.monotonic() - since > self.quiet_seconds

        wait_until(silent, f"all runs of {scenario.dag_id}", scenario.timeout_seconds, 0.5)
        return [
            {"run_id": without_chance(row["run_id"])} | self._facts((scenario.dag_id, row["run_id"])) for row in seen
        ]

    def _consumer(self, scenario: Scenario, dag_id: str) -> dict:
        """The one run that the scenario's run made of another Dag."""

        def ended() -> str | None:
            runs = self._rows(RUN_IDS, dag_id)
            return runs[0]["run_id"] if runs and self._ended(dag_id, runs[0]["run_id"]) else None

        run_id = wait_until(ended, f"a run of {dag_id}", scenario.timeout_seconds, 0.5)
        return {"run_id": without_chance(run_id)} | self._facts((dag_id, run_id))
