"""Runs of Dags."""

from case import DATE, Case, Reading

RUNS = (
    {"dag_id": "pipeline", "dag_run_id": "one"},
    {"dag_id": "outcomes", "dag_run_id": "one"},
    {"dag_id": "triggered", "dag_run_id": "from_pipeline"},
    {"dag_id": "versioned", "dag_run_id": "second"},
)
READINGS = (
    Reading(
        "/api/v2/dags/{dag_id}/dagRuns",
        ({"dag_id": "pipeline"}, {"dag_id": "~"}, {"dag_id": "daily"}),
        values=(("conf_contains", ("2026", "day")), ("dag_version", (1,)), ("consuming_asset_pattern", ("orders",))),
    ),
    Reading("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", RUNS),
    Reading(
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents",
        (*RUNS, {"dag_id": "consume", "dag_run_id": "x"}),
    ),
    Reading("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/wait", RUNS[:1], always=(("interval", 1),)),
)
RUNS_OF = "/api/v2/dags/pipeline/dagRuns"
ONE = f"{RUNS_OF}/one"
NEW = {"dag_run_id": "new", "logical_date": "2026-01-09T00:00:00Z"}
LIST = "/api/v2/dags/~/dagRuns/list"
BOTH = [{"dag_run_id": "one"}, {"dag_run_id": "two"}]
ROLES = ("op", "user", "viewer", "nobody")
CHANGES = (
    Case("POST", RUNS_OF, body=NEW),
    *(Case("POST", RUNS_OF, body=NEW, user=user) for user in ROLES),
    Case("POST", RUNS_OF, body={"dag_run_id": "new", "logical_date": None, "conf": {"count": 2}, "note": "n"}),
    Case("POST", RUNS_OF, body={"logical_date": "2026-01-09T00:00:00Z"}),
    Case("POST", RUNS_OF, body={"dag_run_id": "new"}),
    Case("POST", RUNS_OF, body=NEW | {"dag_run_id": "one"}),
    Case("POST", RUNS_OF, body=NEW | {"logical_date": "2026-01-05T00:00:00Z"}),
    Case("POST", RUNS_OF, body=NEW | {"conf": {"count": 0}}),
    Case("POST", RUNS_OF, body=NEW | {"conf": [1]}),
    Case("POST", RUNS_OF, body=NEW | {"surplus": 1}),
    Case("POST", RUNS_OF, body=NEW | {"logical_date": "no date"}),
    Case("POST", RUNS_OF, body=NEW | {"dag_run_id": "a/b"}),
    Case("POST", RUNS_OF, body=NEW | {"data_interval_start": DATE}),
    Case("POST", RUNS_OF, body=NEW | {"data_interval_start": DATE, "data_interval_end": "2026-01-06T00:00:00Z"}),
    Case("POST", RUNS_OF, body=NEW | {"run_after": "2026-01-10T00:00:00Z"}),
    Case("POST", "/api/v2/dags/daily/dagRuns", body={"dag_run_id": "new", "logical_date": DATE}),
    Case("POST", "/api/v2/dags/unknown/dagRuns", body=NEW),
    Case("POST", RUNS_OF, body=b"{broken"),
    *(Case("PATCH", ONE, body={"state": state}) for state in ("queued", "success", "failed", "running")),
    Case("PATCH", ONE, body={"note": "new note"}),
    Case("PATCH", ONE, body={"state": "failed", "note": "both"}),
    Case("PATCH", ONE, "update_mask=note", {"state": "failed", "note": "only"}),
    Case("PATCH", ONE, body={"note": None}),
    Case("PATCH", ONE, body={"note": "x" * 1001}),
    Case("PATCH", ONE, body={}),
    *(Case("PATCH", ONE, body={"note": "n"}, user=user) for user in ROLES),
    Case("PATCH", f"{RUNS_OF}/unknown", body={"note": "n"}),
    Case("PATCH", "/api/v2/dags/outcomes/dagRuns/one", body={"state": "failed"}),
    Case("PATCH", "/api/v2/dags/outcomes/dagRuns/one", body={"state": "success"}),
    Case("DELETE", ONE),
    *(Case("DELETE", ONE, user=user) for user in ROLES),
    Case("DELETE", f"{RUNS_OF}/unknown"),
    Case("DELETE", "/api/v2/dags/outcomes/dagRuns/one"),
    *(Case("POST", f"{ONE}/clear", body={"dry_run": True, "only_failed": only}) for only in (True, False)),
    *(Case("POST", f"{ONE}/clear", body={"dry_run": False, "only_failed": only}) for only in (True, False)),
    Case("POST", "/api/v2/dags/outcomes/dagRuns/one/clear", body={"dry_run": True}),
    Case("POST", f"{RUNS_OF}/unknown/clear", body={"dry_run": False}),
    Case("POST", f"{ONE}/clear", body={"dry_run": False}, user="viewer"),
    Case("POST", LIST, body={}),
    Case("POST", LIST, body={"dag_ids": ["pipeline"], "order_by": "-run_id"}),
    Case("POST", LIST, body={"states": ["success"], "page_limit": 2, "page_offset": 1}),
    Case("POST", LIST, body={"run_after_gte": "2027-01-01T00:00:00Z"}),
    Case("POST", LIST, body={"order_by": "nothing"}),
    Case("POST", LIST, body={"page_limit": -1}),
    Case("POST", LIST, body={}, user="viewer"),
    Case("POST", "/api/v2/dags/pipeline/dagRuns/list", body={}),
    Case("POST", "/api/v2/dags/pipeline/clearDagRuns", body={"dag_runs": BOTH, "dry_run": True}),
    Case("POST", "/api/v2/dags/pipeline/clearDagRuns", body={"dag_runs": BOTH, "dry_run": False}),
    Case("POST", "/api/v2/dags/pipeline/clearPartitions", body={"partition_keys": ["a"], "dry_run": True}),
    Case(
        "PATCH",
        RUNS_OF,
        body={"actions": [{"action": "delete", "entities": ["one", "unknown"], "action_on_non_existence": "skip"}]},
    ),
    Case("PATCH", RUNS_OF, body={"actions": [{"action": "delete", "entities": ["one", "unknown"]}]}),
    Case("PATCH", RUNS_OF, body={"actions": [{"action": "update", "entities": [{"dag_run_id": "one", "note": "n"}]}]}),
)
