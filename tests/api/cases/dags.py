"""Dags, their tags, tasks, versions, sources and warnings."""

from case import Case, Reading

NAMES = ({"dag_id": "pipeline"}, {"dag_id": "versioned"}, {"dag_id": "daily"}, {"dag_id": "consume_both"})
FILTERS = (
    ("tags", ("shop", "assets", ["shop", "daily"])),
    ("owners", ("sales", "airflow")),
    ("dag_ids", ("pipeline", ["pipeline", "daily"])),
    ("bundle_name", ("recorded",)),
    ("asset_dependency", ("orders", "s3://shop")),
    ("timetable_type", ("airflow.timetables.simple.NullTimetable",)),
    ("dag_runs_limit", (1, 2)),
)
READINGS = (
    Reading("/api/v2/dags", values=FILTERS),
    Reading("/api/v2/dags/{dag_id}", NAMES),
    Reading("/api/v2/dags/{dag_id}/details", NAMES),
    Reading("/api/v2/dagTags"),
    Reading("/api/v2/dagWarnings", values=(("dag_id", ("no_pool",)),)),
    Reading("/api/v2/dagStats", values=(("dag_ids", ("pipeline", ["pipeline", "outcomes"])),)),
    Reading("/api/v2/dagSources/{dag_id}", NAMES, values=(("version_number", (2,)),)),
    Reading("/api/v2/dags/{dag_id}/dagVersions", NAMES, values=(("bundle_name", ("recorded",)),)),
    Reading("/api/v2/dags/{dag_id}/dagVersions/{version_number}", ({"dag_id": "versioned", "version_number": 2},)),
    Reading("/api/v2/dags/{dag_id}/tasks", NAMES),
    Reading(
        "/api/v2/dags/{dag_id}/tasks/{task_id}",
        tuple({"dag_id": "pipeline", "task_id": task} for task in ("values", "sums.double", "sums.show", "trigger")),
    ),
    Reading("/api/v2/importErrors", values=(("filename", ("broken.py",)), ("bundle_name", ("recorded",)))),
    Reading("/api/v2/importErrors/{import_error_id}", ({"import_error_id": 1},)),
)
DAG = "/api/v2/dags/pipeline"
CHANGES = (
    *(Case("PATCH", DAG, body={"is_paused": True}, user=user) for user in ("admin", "op", "user", "viewer", "nobody")),
    Case("PATCH", DAG, body={"is_paused": False}),
    Case("PATCH", DAG, "update_mask=is_paused", {"is_paused": True}),
    Case("PATCH", DAG, "update_mask=description", {"is_paused": True}),
    Case("PATCH", DAG, body={"is_paused": "perhaps"}),
    Case("PATCH", DAG, body={"is_paused": True, "description": "x"}),
    Case("PATCH", DAG, body={}),
    Case("PATCH", DAG, body=b"{broken"),
    Case("PATCH", "/api/v2/dags/unknown", body={"is_paused": True}),
    Case("PATCH", "/api/v2/dags", body={"is_paused": True}),
    Case("PATCH", "/api/v2/dags", "dag_id_pattern=~", {"is_paused": True}),
    Case("PATCH", "/api/v2/dags", "dag_id_pattern=o&limit=2", {"is_paused": True}),
    Case("PATCH", "/api/v2/dags", "dag_id_pattern=%25&tags=shop", {"is_paused": True}),
    Case("PATCH", "/api/v2/dags", "update_mask=tags", {"is_paused": True}),
    *(Case("DELETE", DAG, user=user) for user in ("admin", "user", "viewer")),
    Case("DELETE", "/api/v2/dags/versioned"),
    Case("DELETE", "/api/v2/dags/unknown"),
    Case("POST", f"{DAG}/favorite"),
    Case("POST", f"{DAG}/favorite", user="viewer"),
    Case("POST", "/api/v2/dags/outcomes/favorite"),
    Case("POST", "/api/v2/dags/unknown/favorite"),
    Case("POST", "/api/v2/dags/outcomes/unfavorite"),
    Case("POST", f"{DAG}/unfavorite"),
    Case("POST", "/api/v2/dags/unknown/unfavorite"),
    Case("PUT", "/api/v2/parseDagFile/wrong"),
)
