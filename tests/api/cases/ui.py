"""The API of Airflow's own user interface."""

from case import Case, Reading

RUN = {"dag_id": "pipeline", "dag_run_id": "one"}
DAGS = tuple({"dag_id": name} for name in ("pipeline", "outcomes", "versioned", "daily", "consume_both", "approval"))
FILTERS = (
    ("tags", ("shop", ["shop", "daily"])),
    ("owners", ("sales",)),
    ("dag_ids", ("pipeline", ["pipeline", "daily"])),
    ("bundle_name", ("recorded",)),
    ("asset_dependency", ("orders",)),
    ("root", ("sums.show", "values")),
    ("depth", (2,)),
    ("version_number", (2,)),
)
READINGS = (
    Reading("/ui/auth/menus"),
    Reading("/ui/auth/me"),
    Reading("/ui/config"),
    Reading("/ui/connections/hook_meta"),
    Reading("/ui/teams"),
    Reading("/ui/dags", values=FILTERS),
    Reading("/ui/dags/{dag_id}/latest_run", DAGS),
    Reading("/ui/dags/{dag_id}/dagRuns/{dag_run_id}/stats", (RUN,)),
    Reading("/ui/dags/{dag_id}/dagRuns/{dag_run_id}/deadlines", (RUN,)),
    Reading("/ui/dags/{dag_id}/deadlineAlerts", DAGS[:1]),
    Reading("/ui/next_run_assets/{dag_id}", ({"dag_id": "consume_both"}, {"dag_id": "consume"}, {"dag_id": "daily"})),
    Reading("/ui/partitioned_dag_runs"),
    Reading("/ui/pending_partitioned_dag_run/{dag_id}", DAGS[:1]),
    Reading("/ui/dependencies", values=(("node_id", ("dag:consume", "asset:1", "task:write")),)),
    Reading(
        "/ui/dashboard/historical_metrics_data",
        always=(("start_date", "2026-01-01T00:00:00Z"), ("end_date", "2026-11-01T00:00:00Z")),
    ),
    Reading("/ui/dashboard/dag_stats"),
    Reading("/ui/structure/structure_data", always=(("dag_id", "pipeline"),), values=FILTERS),
    Reading("/ui/grid/structure/{dag_id}", DAGS, values=FILTERS),
    Reading("/ui/grid/runs/{dag_id}", DAGS),
    Reading(
        "/ui/grid/ti_summaries/{dag_id}",
        DAGS,
        always=(("run_ids", "one"),),
        values=(("run_ids", (["one", "two"],)),),
    ),
    Reading("/ui/gantt/{dag_id}/{run_id}", ({"dag_id": "pipeline", "run_id": "one"},)),
    Reading("/ui/calendar/{dag_id}", ({"dag_id": "pipeline"}, {"dag_id": "daily"})),
)
CHANGES = (
    Case("GET", "/ui/structure/structure_data", "dag_id=consume&external_dependencies=true"),
    Case("GET", "/ui/structure/structure_data", "dag_id=unknown"),
    Case("GET", "/ui/grid/runs/unknown", "order_by=-run_after"),
    Case("GET", "/ui/grid/runs/unknown", "order_by=id"),
    Case("GET", "/ui/grid/structure/unknown", "order_by=-run_after"),
    Case("POST", "/ui/auth/token", body={}),
    Case("POST", "/ui/auth/token", body={"token_type": "wrong"}),
)
