"""Plays what happens to assets, and records what the scheduler made of it."""

from __future__ import annotations

import time

from official import wait_until
from psycopg.rows import dict_row
from scenario import Event, Pause, Produce, Scenario

FINISHED_RUN = {"success", "failed"}
# How long the scheduler gets to make a run of an event, and that run to start and end.
SETTLE_SECONDS = 8
PRODUCER_TIMEOUT_SECONDS = 120

ASSET_ID = "select id from asset where name = %s"
RUN_STATES = "select state from dag_run where dag_id = %s"
PARTITION = "select id, run_id, partition_key, partition_date from dag_run where dag_id = %s order by run_after, id"
CONSUMED = """
    select a.name, e.extra, e.source_dag_id, e.source_task_id, e.source_map_index, e.partition_key,
           (select coalesce(array_agg(alias.name order by alias.name), '{}') from asset_alias_asset_event link
              join asset_alias alias on alias.id = link.alias_id where link.event_id = e.id) as aliases
      from dagrun_asset_event c join asset_event e on e.id = c.event_id join asset a on a.id = e.asset_id
     where c.dag_run_id = %s order by a.name, e.partition_key, e.source_dag_id, e.source_map_index, e.extra::text"""
QUEUED = """
    select a.name from asset_dag_run_queue q join asset a on a.id = q.asset_id
     where q.target_dag_id = %s order by 1"""
PENDING = """
    select p.partition_key, p.partition_date,
           (select coalesce(array_agg(a.name || ' ' || k.source_partition_key order by k.id), '{}')
              from partitioned_asset_key_log k join asset a on a.id = k.asset_id
             where k.asset_partition_dag_run_id = p.id) as received
      from asset_partition_dag_run p
     where p.target_dag_id = %s and p.created_dag_run_id is null order by p.id"""
FINGERPRINTS = "select rollup_fingerprint from asset_partition_dag_run where target_dag_id = %s order by id"
COMPLAINTS = """
    select event, task_id, regexp_replace(extra, '(asset_id|run_id)=[^,]*', '\\1=…', 'g') as extra from log
     where event in ('missing partition key', 'failed to map partition_key', 'partition fan-out exceeded')
       and (position('''' || %s || '''' in extra) > 0) order by id"""


class AssetSteps:
    def __init__(self, recorder):
        self.recorder = recorder
        self.rest = recorder.official.rest
        self.produced = 0

    def _rows(self, query: str, *parameters) -> list[dict]:
        return self.recorder.connection.cursor(row_factory=dict_row).execute(query, parameters).fetchall()

    def play(self, scenario: Scenario) -> None:
        for step in scenario.steps:
            match step:
                case Event():
                    self._report(step)
                case Produce():
                    self._produce(step)
                case Pause():
                    body = {"is_paused": step.is_paused}
                    self.rest.call("PATCH", f"/api/v2/dags/{step.dag_id}", body)
            self._settle(scenario, step.settle_seconds)

    def _report(self, event: Event) -> None:
        asset_id = self._rows(ASSET_ID, event.asset)[0]["id"]
        body = {"asset_id": asset_id, "extra": event.extra or {}, "partition_key": event.partition_key}
        self.rest.call("POST", "/api/v2/assets/events", body)

    def _produce(self, run: Produce) -> None:
        self.produced += 1
        self.recorder.unpause(run.dag_id)
        body = {"dag_run_id": f"produce_{self.produced}", "logical_date": None, "conf": run.conf or {}}
        if run.partition_key is not None:
            body["partition_key"] = run.partition_key
        self.rest.call("POST", f"/api/v2/dags/{run.dag_id}/dagRuns", body)
        self._wait_for_runs(run.dag_id, PRODUCER_TIMEOUT_SECONDS)

    def _settle(self, scenario: Scenario, seconds: float | None) -> None:
        time.sleep(SETTLE_SECONDS if seconds is None else seconds)
        if seconds is None:
            self._wait_for_runs(scenario.dag_id, scenario.timeout_seconds)

    def _wait_for_runs(self, dag_id: str, seconds: float) -> None:
        def over() -> bool:
            return all(row["state"] in FINISHED_RUN for row in self._rows(RUN_STATES, dag_id))

        wait_until(over, f"the runs of {dag_id}", seconds, 0.5)

    def with_consumed(self, dag_id: str, runs: list[dict]) -> list[dict]:
        """The runs with their partition and the events that they consumed, runs of partitions ordered by these."""
        found = []
        for run, row in zip(runs, self._rows(PARTITION, dag_id), strict=True):
            facts = {name: row[name] for name in ("partition_key", "partition_date")}
            found.append(run | facts | {"consumed": self._rows(CONSUMED, row["id"])})
        return sorted(found, key=lambda run: run["partition_key"] or "")

    def left_over(self, dag_id: str) -> dict:
        """What waits for further events, and what the audit log says about partitions that could not be mapped."""
        fingerprints = [row["rollup_fingerprint"] for row in self._rows(FINGERPRINTS, dag_id)]
        return {
            "queued": [row["name"] for row in self._rows(QUEUED, dag_id)],
            "pending": self._rows(PENDING, dag_id),
            "fingerprints": [one for n, one in enumerate(fingerprints) if one not in fingerprints[:n]],
            "complaints": self._rows(COMPLAINTS, dag_id),
        }
