"""Runs for partitions: of a calendar and of assets, those that were made and those that wait."""

from case import NEXT, PREVIOUS, Case, Reading, as_everyone

DATA = "corners"
#: Assets by their ids: one Dag makes flour, two make yeast, and milk is in conflict.
MILK, FLOUR, YEAST = 1, 4, 5
DAGS = tuple({"dag_id": dag_id} for dag_id in ("days", "bread", "harvest", "ledger"))
KEYS = ("north", "south", "west", "far", "all", "2026-01-02T00:00:00")
READINGS = (
    Reading("/ui/partitioned_dag_runs", values=(("dag_id", ("bread", "harvest", "days", "ledger")),)),
    Reading("/ui/pending_partitioned_dag_run/{dag_id}", DAGS[1:3], values=(("partition_key", KEYS),)),
    Reading(
        "/ui/pending_partitioned_dag_run/{dag_id}",
        DAGS[2:3],
        always=(("partition_key", "all"),),
        values=(("partition_key", KEYS),),
    ),
    Reading("/ui/next_run_assets/{dag_id}", DAGS),
    Reading("/api/v2/dags/{dag_id}", DAGS),
    Reading("/api/v2/dags/{dag_id}/details", DAGS),
    Reading(
        "/api/v2/dags/{dag_id}/dagRuns",
        DAGS,
        values=(
            ("partition_key_pattern", ("north", "2026%", "2026-01-0")),
            ("partition_key_prefix_pattern", ("n", "2026-01-0")),
            ("partition_date_gte", ("2026-01-02", "2026-01-03", "no date")),
            ("partition_date_lte", ("2026-01-02", "2026-01-03", "no date")),
        ),
    ),
    Reading("/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}", ({"dag_id": "mill", "dag_run_id": "first"},)),
    Reading("/api/v2/assets", values=(("name_pattern", ("flour",)),)),
    Reading("/api/v2/assets/events", values=(("source_dag_id", ("mill",)),)),
    Reading("/ui/dags/{dag_id}/latest_run", DAGS),
    Reading("/ui/grid/runs/{dag_id}", DAGS),
    Reading("/ui/calendar/{dag_id}", DAGS[:2]),
)
RUNS_OF = "/api/v2/dags/days/dagRuns"
CLEAR = "/api/v2/dags/days/clearPartitions"
CLEAR_RUNS = "/api/v2/dags/days/clearDagRuns"
WINDOW = {"partition_date_start": "2026-01-02T00:00:00", "partition_date_end": "2026-01-03T00:00:00"}
SELECTORS = (
    {"partition_key": "2026-01-02T00:00:00"},
    {"partition_key": "unknown"},
    WINDOW,
    {"partition_date_start": "2026-01-02T00:00:00Z"},
    {"partition_date_end": "2026-01-02T12:00:00+01:00"},
    {"partition_date_start": "2026-01-03", "partition_date_end": "2026-01-02"},
    WINDOW | {"partition_key": "2026-01-02T00:00:00"},
    {"partition_date_start": "no date"},
    {"partition_key": 7},
    {},
)
TRIGGER = {"dag_run_id": "new", "logical_date": None}
EVENTS = "/api/v2/assets/events"
MATERIALIZE = "/api/v2/assets/{}/materialize"
CHANGES = (
    Case("GET", RUNS_OF, "cursor=&limit=1&order_by=partition_date"),
    Case("GET", RUNS_OF, f"cursor={NEXT}&limit=1&order_by=partition_date"),
    Case("GET", RUNS_OF, f"cursor={NEXT}&limit=2&order_by=partition_date"),
    Case("GET", RUNS_OF, f"cursor={PREVIOUS}&limit=1&order_by=partition_date"),
    Case("GET", RUNS_OF, "partition_date_gte=2026-01-02&partition_date_lte=2026-01-02"),
    Case("GET", RUNS_OF, "partition_date_gte=2026-01-03&partition_date_lte=2026-01-02"),
    Case("GET", "/api/v2/dags/~/dagRuns", "partition_date_gte=2026-01-02"),
    Case("GET", "/api/v2/dags/~/dagRuns", "partition_key_pattern=north"),
    Case("GET", "/api/v2/dags/~/dagRuns", "order_by=partition_date&order_by=-run_id&limit=4"),
    Case("GET", "/ui/partitioned_dag_runs", "dag_id=bread&has_created_dag_run_id=false"),
    *(Case("POST", CLEAR, body=body | {"dry_run": dry}) for body in SELECTORS for dry in (True, False)),
    Case("POST", CLEAR, body=WINDOW | {"dry_run": False, "clear_task_instances": True}),
    Case("POST", CLEAR, body=WINDOW | {"dry_run": True, "clear_task_instances": True}),
    Case("POST", CLEAR, body={"run_id": "unknown", "dry_run": False}),
    Case("POST", CLEAR, body={"run_id": "first", "surplus": 1}),
    Case("POST", "/api/v2/dags/mill/clearPartitions", body={"run_id": "first", "dry_run": False}),
    Case("POST", "/api/v2/dags/mill/clearPartitions", body=WINDOW),
    Case("POST", "/api/v2/dags/bread/clearPartitions", body={"partition_key": "north", "dry_run": False}),
    Case("POST", "/api/v2/dags/unknown/clearPartitions", body={"partition_key": "north"}),
    *as_everyone("POST", CLEAR, WINDOW | {"dry_run": False}),
    *(Case("POST", CLEAR_RUNS, body=body | {"dry_run": dry}) for body in SELECTORS for dry in (True, False)),
    Case("POST", CLEAR_RUNS, body=WINDOW | {"only_failed": True, "only_new": True}),
    Case("POST", CLEAR_RUNS, body=WINDOW | {"only_failed": True, "dry_run": False}),
    Case("POST", CLEAR_RUNS, body=WINDOW | {"only_new": True, "dry_run": False}),
    Case("POST", CLEAR_RUNS, body=WINDOW | {"run_on_latest_version": True, "dry_run": False, "note": "again"}),
    Case("POST", CLEAR_RUNS, body={"partition_key": "2026-01-02T00:00:00", "note": "x" * 1001}),
    Case("POST", CLEAR_RUNS, body=WINDOW | {"dag_runs": [{"dag_run_id": "first"}]}),
    Case("POST", CLEAR_RUNS, body={"dag_runs": [{"dag_run_id": "first", "dag_id": "mill"}]}),
    Case("POST", CLEAR_RUNS, body={"dag_runs": [{"dag_run_id": "first"}]}),
    Case("POST", "/api/v2/dags/~/clearDagRuns", body=WINDOW),
    Case("POST", "/api/v2/dags/~/clearDagRuns", body={"dag_runs": [{"dag_run_id": "first"}]}),
    Case("POST", "/api/v2/dags/~/clearDagRuns", body={"dag_runs": [{"dag_run_id": "first", "dag_id": "~"}]}),
    *(
        Case("POST", "/api/v2/dags/~/clearDagRuns", body={"dag_runs": runs, "dry_run": dry})
        for runs in (
            [{"dag_run_id": "first", "dag_id": "mill"}, {"dag_run_id": "eleventh", "dag_id": "ledger"}],
            [{"dag_run_id": "first", "dag_id": "mill"}, {"dag_run_id": "first", "dag_id": "mill"}],
            [{"dag_run_id": "first", "dag_id": "mill"}, {"dag_run_id": "unknown", "dag_id": "ledger"}],
        )
        for dry in (True, False)
    ),
    *as_everyone("POST", CLEAR_RUNS, WINDOW | {"dry_run": False}),
    *(
        Case("POST", f"/api/v2/dags/{dag_id}/dagRuns", body=TRIGGER | {"partition_key": key})
        for dag_id in ("days", "bread", "harvest", "ledger", "mill")
        for key in ("2026-01-02T00:00:00", "north", "", 7, None)
    ),
    *(Case("POST", f"/api/v2/dags/{dag_id}/dagRuns", body=TRIGGER) for dag_id in ("days", "no_backfills", "by_schedule_alone")),
    Case("POST", RUNS_OF, body=TRIGGER | {"logical_date": "2026-01-02T00:00:00Z"}),
    *(
        Case("POST", EVENTS, body={"asset_id": asset, "partition_key": key})
        for asset in (FLOUR, YEAST, MILK)
        for key in ("south", "new", "x" * 251, 7)
    ),
    *(Case("POST", MATERIALIZE.format(asset)) for asset in (1, 2, 3, 4, 5, 6)),
    *(
        Case("POST", MATERIALIZE.format(FLOUR), body=body)
        for body in (
            {"conf": {"grain": "wheat"}},
            {"conf": {"grain": "sand"}},
            {"partition_key": "north"},
            {"logical_date": "2026-01-02T00:00:00Z", "dag_run_id": "made", "note": "n"},
            {"data_interval_start": "2026-01-02T00:00:00Z"},
            {"dag_run_id": "first"},
            {"surplus": 1},
            {"run_after": "no date"},
            {"dag_run_id": "a/b"},
        )
    ),
    *as_everyone("POST", MATERIALIZE.format(FLOUR)),
    Case("POST", MATERIALIZE.format("x")),
    *as_everyone("DELETE", f"/api/v2/assets/{FLOUR}/queuedEvents"),
    *as_everyone("DELETE", "/api/v2/dags/bread/assets/queuedEvents"),
    *as_everyone("DELETE", f"/api/v2/dags/bread/assets/{FLOUR}/queuedEvents"),
    Case("DELETE", f"/api/v2/assets/{FLOUR}/queuedEvents", "before=2026-01-01T00:00:00Z"),
    Case("DELETE", "/api/v2/dags/bread/assets/queuedEvents", "before=no%20date"),
    Case("DELETE", "/api/v2/dags/unknown/assets/queuedEvents"),
    Case("DELETE", "/api/v2/dags/bread/assets/x/queuedEvents"),
)
