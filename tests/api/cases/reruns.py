"""Backfills of Dags of every kind, and deadlines of runs."""

from case import Case, Reading, as_everyone

DATA = "corners"
RUN = {"dag_id": "late", "dag_run_id": "one"}
READINGS = (
    Reading("/api/v2/backfills", always=(("dag_id", "ledger"),), values=(("dag_id", ("standing",)),)),
    Reading("/api/v2/backfills/{backfill_id}", ({"backfill_id": 1}, {"backfill_id": 2})),
    Reading("/ui/backfills", values=(("dag_id", ("ledger", "standing")), ("active", ("true", "false")))),
    Reading("/ui/dags/{dag_id}/dagRuns/{dag_run_id}/deadlines", (RUN, RUN | {"dag_run_id": "~"}, {"dag_id": "~", "dag_run_id": "~"})),
    Reading("/ui/dags/{dag_id}/deadlineAlerts", ({"dag_id": "late"}, {"dag_id": "ledger"})),
    Reading("/ui/grid/runs/{dag_id}", ({"dag_id": "late"}, {"dag_id": "ledger"})),
    Reading("/api/v2/dags/{dag_id}/details", ({"dag_id": "late"}, {"dag_id": "no_backfills"})),
    Reading("/ui/calendar/{dag_id}", ({"dag_id": "ledger"}, {"dag_id": "standing"})),
)
BACKFILLS = "/api/v2/backfills"
NEW = {"dag_id": "ledger", "from_date": "2026-01-09T00:00:00Z", "to_date": "2026-01-12T00:00:00Z"}
BODIES = (
    NEW,
    *(NEW | {"reprocess_behavior": behaviour} for behaviour in ("none", "failed", "completed", "wrong", None)),
    *(NEW | {"run_backwards": True, "reprocess_behavior": behaviour} for behaviour in ("none", "failed", "completed")),
    *(NEW | {"max_active_runs": number} for number in (1, 0, -1, "many", None)),
    NEW | {"dag_run_conf": {"fails": True}},
    NEW | {"dag_run_conf": {"fails": "perhaps"}},
    NEW | {"dag_run_conf": {}},
    NEW | {"dag_run_conf": [1]},
    NEW | {"run_on_latest_version": True},
    NEW | {"run_on_latest_version": False, "reprocess_behavior": "completed"},
    NEW | {"run_backwards": "perhaps"},
    NEW | {"from_date": "2026-01-09T12:00:00+02:00"},
    NEW | {"from_date": "2026-01-09"},
    NEW | {"from_date": None},
    NEW | {"to_date": "2026-01-01T00:00:00Z"},
    NEW | {"to_date": "2026-01-09T00:00:00Z"},
    NEW | {"from_date": "2026-01-10T00:00:00Z", "to_date": "2026-01-10T00:00:00Z"},
    NEW | {"from_date": "2026-02-10T00:00:00Z", "to_date": "2026-02-12T00:00:00Z"},
    NEW | {"from_date": "2090-01-01T00:00:00Z", "to_date": "2090-01-02T00:00:00Z"},
    NEW | {"surplus": 1},
    *(NEW | {"dag_id": dag_id} for dag_id in ("standing", "chained", "no_backfills", "late", "bread", "unknown", 7)),
    NEW | {"dag_id": "chained", "run_backwards": True},
    NEW | {"dag_id": "chained", "reprocess_behavior": "none"},
    NEW | {"dag_id": "days", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-03T00:00:00Z"},
    NEW | {"dag_id": "days", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-03T00:00:00Z", "reprocess_behavior": "completed"},
    {},
    [],
)  # fmt: skip
CHANGES = (
    *(Case("POST", path, body=body) for body in BODIES for path in (BACKFILLS, f"{BACKFILLS}/dry_run")),
    *as_everyone("POST", BACKFILLS, NEW),
    *as_everyone("POST", f"{BACKFILLS}/dry_run", NEW),
    *(Case("PUT", f"{BACKFILLS}/{number}/{verb}") for number in (1, 2, "x", -1) for verb in ("pause", "unpause", "cancel")),
    *(case for verb in ("pause", "unpause", "cancel") for case in as_everyone("PUT", f"{BACKFILLS}/2/{verb}")),
    Case("GET", BACKFILLS, "dag_id=ledger&order_by=-id"),
    Case("GET", "/ui/dags/~/dagRuns/one/deadlines"),
    Case("GET", "/ui/dags/~/dagRuns/~/deadlines", "order_by=missed&order_by=-deadline_time&limit=3"),
    Case("GET", "/ui/dags/~/dagRuns/~/deadlines", "order_by=alert_name&order_by=dag_run_id"),
    Case("GET", "/ui/dags/~/dagRuns/~/deadlines", "missed=true&order_by=-dag_run_id"),
    Case("DELETE", "/api/v2/dags/late/dagRuns/one"),
    Case("PATCH", "/api/v2/dags/late/dagRuns/one", body={"state": "failed"}),
    Case("POST", "/api/v2/dags/late/dagRuns/one/clear", body={"dry_run": False}),
    Case("POST", "/api/v2/dags/late/dagRuns", body={"dag_run_id": "new", "logical_date": None}),
)
