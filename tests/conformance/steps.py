"""The steps of which scenarios of operations are made, and the player that takes them and records what came of them.

A scenario has a Dag of its own: a file of `operation_dags/`, copied into the Dag folder under the scenario's name,
which is the Dag's id. A step that edits the Dag copies another file over it.
"""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from normalise import Normaliser
from official import Official, wait_until
from psycopg.rows import dict_row
from runs import FINISHED_RUN, UNFINISHED_TASK

SOURCES = Path(__file__).resolve().parent / "operation_dags"
STEP_TIMEOUT_SECONDS = 120
POLL_SECONDS = 0.3
# How long nothing has to happen before something that does not end counts as settled.
QUIET_SECONDS = 8

# What of an answer is recorded: nothing that differs between two moments or machines.
STABLE_KEYS = {
    "action", "backfills", "bundle_version", "code", "completed", "conf", "create", "dag_run_conf", "dag_run_id",
    "dag_runs", "delete", "detail", "dry_run", "error", "errors", "from_date", "is_paused", "logical_date", "map_index",
    "max_active_runs", "max_tries", "note", "partition_key", "reprocess_behavior", "run_type", "state", "status_code",
    "success", "task_id", "task_instances", "to_date", "total_entries", "triggered_by", "try_number", "update",
}  # fmt: skip

RUNS = """
    select r.run_id, r.state, r.run_type, r.triggered_by, r.conf, r.logical_date, r.start_date is not null as started,
           r.end_date is not null as ended, r.clear_number, v.version_number as dag_version,
           r.bundle_version, r.backfill_id is not null as of_backfill, n.content as note, r.partition_key, r.partition_date
      from dag_run r left join dag_version v on v.id = r.created_dag_version_id
      left join dag_run_note n on n.dag_run_id = r.id
     where r.dag_id = %s order by r.run_id"""

TASK_INSTANCES = """
    select t.run_id, t.task_id, t.map_index, t.state, t.try_number, t.max_tries, t.operator, t.pool, t.pool_slots,
           t.priority_weight, t.queue, t.rendered_map_index, t.next_method, t.start_date is not null as started,
           t.end_date is not null as ended, v.version_number as dag_version, n.content as note
      from task_instance t left join dag_version v on v.id = t.dag_version_id
      left join task_instance_note n on n.ti_id = t.id
     where t.dag_id = %s order by t.run_id, t.task_id, t.map_index"""

HISTORY = """
    select h.run_id, h.task_id, h.map_index, h.try_number, h.state, h.max_tries, h.end_date is not null as ended,
           v.version_number as dag_version
      from task_instance_history h left join dag_version v on v.id = h.dag_version_id
     where h.dag_id = %s order by h.run_id, h.task_id, h.map_index, h.try_number"""

XCOMS = "select run_id, task_id, map_index, key, value from xcom where dag_id = %s and key = 'return_value'"

BACKFILLS = """
    select id, from_date, to_date, dag_run_conf, is_paused, reprocess_behavior, max_active_runs,
           completed_at is not null as completed
      from backfill where dag_id = %s order by id"""

BACKFILL_RUNS = """
    select b.backfill_id, r.run_id, b.exception_reason, b.logical_date, b.partition_key, b.sort_ordinal
      from backfill_dag_run b left join dag_run r on r.id = b.dag_run_id
     where b.backfill_id = any(%s) order by b.backfill_id, b.sort_ordinal"""

DAG = "select is_paused, is_stale, has_import_errors from dag where dag_id = %s"
VERSIONS = "select version_number from dag_version where dag_id = %s order by version_number"
RUN_IDS = "select run_id from dag_run where dag_id = %s order by id"
STARTS = "select run_id, start_date from dag_run where dag_id = %s and start_date is not null order by start_date"

# The end of the id of a run that a timetable of partitions names.
CHANCE = re.compile(r"(?<=__)[A-Za-z0-9]{8}$")
# Told of runs of partitions alone.
OF_PARTITIONS = ("partition_key", "partition_date")


class Player:
    """Takes the steps of one scenario."""

    def __init__(self, official: Official, normalise: Normaliser, name: str):
        self.official = official
        self.normalise = normalise
        self.dag_id = name
        self.connection = official.postgres.connect()
        self.file = official.bundles["operations"] / f"{name}.py"
        self.control = official.home / "control" / name
        self.answers: list[dict] = []

    def rows(self, query: str, *parameters) -> list[dict]:
        return self.connection.cursor(row_factory=dict_row).execute(query, parameters).fetchall()

    def wait(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, f"{self.dag_id}: {what}", STEP_TIMEOUT_SECONDS, POLL_SECONDS)

    def call(self, method: str, path: str, body=None) -> tuple[int, object]:
        return self.official.rest.answer(method, f"/api/v2{self.named(path)}", self.named(body))

    def named(self, value):
        """The value with `{dag}` and `{backfill}` replaced: the scenario's Dag and its newest backfill."""
        if isinstance(value, str):
            if "{backfill}" in value:
                value = value.replace("{backfill}", str(self.rows(BACKFILLS, self.dag_id)[-1]["id"]))
            return value.replace("{dag}", self.dag_id)
        if isinstance(value, dict):
            return {key: self.named(inner) for key, inner in value.items()}
        return [self.named(inner) for inner in value] if isinstance(value, list) else value

    # -- the Dag's file ----------------------------------------------------------------------------------------------

    def write_file(self, source: str) -> None:
        """Copies a file over the Dag's, in one step, and waits until it was parsed."""
        before = datetime.now(timezone.utc)
        draft = self.file.with_suffix(".draft")
        shutil.copyfile(SOURCES / f"{source}.py", draft)
        draft.replace(self.file)
        query = (
            "select exists (select from dag where dag_id = %s and last_parsed_time > %s and not is_stale)"
            " or exists (select from import_error where filename = %s and timestamp > %s) as parsed"
        )
        parameters = (self.dag_id, before, self.file.name, before)
        self.wait(lambda: self.rows(query, *parameters)[0]["parsed"], f"the parsing of {source}")

    def remove_file(self) -> None:
        self.file.unlink()
        self.wait(lambda: self.rows(DAG, self.dag_id)[0]["is_stale"], "the Dag to be gone from its file")

    # -- waiting -----------------------------------------------------------------------------------------------------

    def run_state(self, run_id: str) -> str | None:
        rows = self.rows("select state from dag_run where dag_id = %s and run_id = %s", self.dag_id, run_id)
        return rows[0]["state"] if rows else None

    def task_state(self, run_id: str, task_id: str, map_index: int) -> str | None:
        query = (
            "select state from task_instance"
            " where dag_id = %s and run_id = %s and task_id = %s and map_index = %s"
        )  # fmt: skip
        rows = self.rows(query, self.dag_id, run_id, task_id, map_index)
        return (rows[0]["state"] or "none") if rows else None

    def has_ended(self, run_id: str | None = None) -> bool:
        """The run, or every run, is over, with no task left that a supervisor or the scheduler still moves."""
        runs = self.rows("select run_id, state from dag_run where dag_id = %s", self.dag_id)
        tasks = self.rows("select run_id, state from task_instance where dag_id = %s", self.dag_id)
        runs, tasks = ([row for row in rows if run_id in (None, row["run_id"])] for rows in (runs, tasks))
        return all(row["state"] in FINISHED_RUN for row in runs) and all(
            row["state"] not in UNFINISHED_TASK for row in tasks
        )

    def traces(self) -> dict[str, list[str]]:
        return {path.name: path.read_text().split() for path in sorted((self.control / "trace").glob("*"))}

    def settle(self) -> None:
        """Waits until nothing has happened for a while."""
        seen, since = None, time.monotonic()

        def quiet() -> bool:
            nonlocal seen, since
            now = (self.rows(RUNS, self.dag_id), self.rows(TASK_INSTANCES, self.dag_id), self.traces())
            if now != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since > QUIET_SECONDS

        self.wait(quiet, "quiet")

    # -- recording ---------------------------------------------------------------------------------------------------

    def facts(self) -> dict:
        """What the database and the tasks themselves know now."""
        rows = map(without_missing_partition, self.rows(RUNS, self.dag_id))
        runs = {row.pop("run_id"): row | {"task_instances": {}} for row in rows}
        for row in self.rows(TASK_INSTANCES, self.dag_id):
            tasks = runs[row.pop("run_id")]["task_instances"]
            tasks[f"{row.pop('task_id')}[{row.pop('map_index')}]"] = row | {"history": []}
        for row in self.rows(HISTORY, self.dag_id):
            tasks = runs[row.pop("run_id")]["task_instances"]
            name = f"{row.pop('task_id')}[{row.pop('map_index')}]"
            # The history of a task instance outlives it where the task instance was deleted.
            tasks.setdefault(name, {"deleted": True, "history": []})["history"].append(row)
        for row in self.rows(XCOMS, self.dag_id):
            name = f"{row['task_id']}[{row['map_index']}]"
            runs[row["run_id"]]["task_instances"].setdefault(name, {"deleted": True})["value"] = row["value"]
        backfills = self.rows(BACKFILLS, self.dag_id)
        numbers = {backfill.pop("id"): number for number, backfill in enumerate(backfills)}
        for backfill in backfills:
            backfill["runs"] = []
        for row in self.rows(BACKFILL_RUNS, list(numbers)):
            backfills[numbers[row.pop("backfill_id")]]["runs"].append(without_missing_partition(row))
        dag = self.rows(DAG, self.dag_id)
        facts = {
            "dag": dag[0] if dag else None,
            "dag_versions": [row["version_number"] for row in self.rows(VERSIONS, self.dag_id)],
            "runs": runs,
            "backfills": backfills,
            "traces": self.traces(),
        }
        return self.without_chance(facts)

    def without_chance(self, value):
        """The value with the random end of run ids replaced by which of the runs it is that differ in it alone."""
        names, seen = {}, Counter()
        for run_id in (row["run_id"] for row in self.rows(RUN_IDS, self.dag_id)):
            if (begin := CHANCE.sub("", run_id)) != run_id:
                seen[begin] += 1
                names[run_id] = f"{begin}${{RANDOM-{seen[begin]}}}"
        return renamed(value, names)


def without_missing_partition(row: dict) -> dict:
    return {key: value for key, value in row.items() if key not in OF_PARTITIONS or value is not None}


def renamed(value, names: dict[str, str]):
    """The value with names replaced within its texts."""
    if isinstance(value, dict):
        return {renamed(key, names): renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, names) for inner in value]
    if isinstance(value, str):
        for before, after in names.items():
            value = value.replace(before, after)
    return value


def in_utc(date: str) -> str:
    """The same moment: an answer to what makes something repeats the offset that somebody meant."""
    return datetime.fromisoformat(date).astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def stable(answer):
    """What of a REST answer is the same on every machine; task instances in a fixed order."""
    if isinstance(answer, dict):
        stays = {key: stable(value) for key, value in answer.items() if key in STABLE_KEYS}
        stays |= {key: answer[key] for key in OF_PARTITIONS if answer.get(key) is not None}
        return stays | {key: in_utc(stays[key]) for key in ("partition_date", "from_date", "to_date") if key in stays}
    if isinstance(answer, list):
        inner = [stable(value) for value in answer]
        if all(isinstance(value, dict) and "task_id" in value for value in inner):
            inner.sort(key=lambda value: (value.get("dag_run_id", ""), value["task_id"], value.get("map_index", -1)))
        return inner
    return answer


# -- steps ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trigger:
    """Makes a run; its logical date follows from its name unless it has none."""

    run_id: str = "one"
    dated: bool = True
    conf: dict | None = None
    date: str | None = None

    DAYS = {"one": "2026-01-01", "two": "2026-01-02", "three": "2026-01-03"}

    def take(self, player: Player) -> None:
        date = self.date or f"{self.DAYS.get(self.run_id, '2026-01-09')}T00:00:00Z"
        body = {"dag_run_id": self.run_id, "logical_date": date if self.dated else None}
        body |= {} if self.conf is None else {"conf": self.conf}
        status, answer = player.call("POST", "/dags/{dag}/dagRuns", body)
        if status != 200:
            raise RuntimeError(f"{self}: {status} {answer}")


@dataclass(frozen=True)
class Call:
    """One REST call, whose answer is recorded."""

    method: str
    path: str
    body: dict | None = None

    def take(self, player: Player) -> None:
        status, answer = player.call(self.method, self.path, self.body)
        call = f"{self.method} {self.path}"
        player.answers.append({"call": call, "body": self.body, "status": status, "answer": stable(answer)})


@dataclass(frozen=True)
class Until:
    """Waits until a task instance is in a state; `none` is the state of one that waits, a missing one has none."""

    task_id: str
    state: str = "success"
    run_id: str = "one"
    map_index: int = -1

    def take(self, player: Player) -> None:
        key = (self.run_id, self.task_id, self.map_index)
        player.wait(lambda: player.task_state(*key) == self.state, str(self))


@dataclass(frozen=True)
class Traced:
    """Waits until an attempt has left a word: `started` means that the task's own code runs."""

    task_id: str
    word: str = "started"
    run_id: str = "one"
    map_index: int = -1
    try_number: int = 1

    def take(self, player: Player) -> None:
        name = f"{self.run_id} {self.task_id}[{self.map_index}] {self.try_number}"
        player.wait(lambda: self.word in player.traces().get(name, []), str(self))


@dataclass(frozen=True)
class UntilRun:
    """Waits until a run is in a state."""

    state: str
    run_id: str = "one"

    def take(self, player: Player) -> None:
        player.wait(lambda: player.run_state(self.run_id) == self.state, str(self))


@dataclass(frozen=True)
class Ended:
    """Waits until a run, or every run of the Dag, is over."""

    run_id: str | None = None

    def take(self, player: Player) -> None:
        player.wait(lambda: player.has_ended(self.run_id), str(self))


@dataclass(frozen=True)
class BackfillDone:
    """Waits until the scheduler has found that every backfill is done."""

    def take(self, player: Player) -> None:
        player.wait(lambda: all(row["completed"] for row in player.rows(BACKFILLS, player.dag_id)), str(self))


@dataclass(frozen=True)
class Settle:
    """Waits until nothing happens any more, where no event tells."""

    def take(self, player: Player) -> None:
        player.settle()


@dataclass(frozen=True)
class Tell:
    """Tells tasks what to do from now on: `hold`, `fail` or `skip`."""

    verb: str
    names: tuple[str, ...]

    def take(self, player: Player) -> None:
        for name in self.names:
            path = player.control / self.verb / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


@dataclass(frozen=True)
class Untell:
    """Takes back what tasks were told."""

    verb: str
    names: tuple[str, ...]

    def take(self, player: Player) -> None:
        for name in self.names:
            (player.control / self.verb / name).unlink()


@dataclass(frozen=True)
class Length:
    """How long the lists are that tasks make from now on."""

    length: int

    def take(self, player: Player) -> None:
        player.control.mkdir(parents=True, exist_ok=True)
        (player.control / "length").write_text(str(self.length))


@dataclass(frozen=True)
class Edit:
    """Writes another version of the Dag's file and waits until it was parsed."""

    source: str

    def take(self, player: Player) -> None:
        player.write_file(self.source)


@dataclass(frozen=True)
class Remove:
    """Removes the Dag's file and waits until that was noticed."""

    def take(self, player: Player) -> None:
        player.remove_file()


@dataclass(frozen=True)
class Look:
    """Records the facts of this moment under a name, beside those of the end."""

    name: str

    def take(self, player: Player) -> None:
        player.answers.append({"look": self.name, "facts": player.facts()})


@dataclass(frozen=True)
class StartOrder:
    """Records in which order the Dag's runs started."""

    def take(self, player: Player) -> None:
        order = [row["run_id"] for row in player.rows(STARTS, player.dag_id)]
        player.answers.append({"start_order": player.without_chance(order)})
