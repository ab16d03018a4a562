"""Files that cannot be imported and Dags that are warned of, wherever the API tells of them."""

from case import FILE_TOKEN, Case, Reading, as_everyone

DATA = "corners"
FILES = ("syntax_error.py", "east/deep/missing_module.py", "same_name.py", "breaks.py", "raises.py")
BROKEN = ("breaks", "breaks_too", "beside_twice", "in_two_files", "varies")
DAGS = tuple({"dag_id": dag_id} for dag_id in BROKEN)
BUNDLES = ("bundle_name", ("front", "back"))
READINGS = (
    Reading(
        "/api/v2/importErrors",
        values=(
            ("filename", FILES),
            BUNDLES,
            ("filename_pattern", ("east/", "name%", "%.py")),
            ("filename_prefix_pattern", ("east/", "s", "same_name")),
        ),
    ),
    Reading("/api/v2/importErrors/{import_error_id}", tuple({"import_error_id": number} for number in range(1, 10))),
    Reading("/api/v2/dagWarnings", values=(("dag_id", ("varies", "milk_there", "milk_by_another_name", "breaks")),)),
    Reading("/api/v2/dags", values=(BUNDLES, ("tags", ("broken", "one", "two")), ("owners", ("baker",)))),
    Reading("/api/v2/dags/{dag_id}", DAGS),
    Reading("/api/v2/dags/{dag_id}/details", DAGS),
    Reading("/api/v2/dags/{dag_id}/dagVersions", DAGS[:1], values=(BUNDLES,)),
    Reading("/api/v2/dags/{dag_id}/tasks", DAGS[:1]),
    Reading("/api/v2/dagSources/{dag_id}", DAGS),
    Reading("/api/v2/dagTags"),
    Reading("/api/v2/dagStats", values=(("dag_ids", ("breaks", ["breaks", "breaks_too"])),)),
    Reading("/ui/dags", values=(BUNDLES, ("tags", ("broken",)))),
    Reading("/ui/dashboard/dag_stats"),
    Reading(
        "/ui/dashboard/historical_metrics_data",
        always=(("start_date", "2026-01-01T00:00:00Z"), ("end_date", "2027-01-01T00:00:00Z")),
    ),
    Reading("/ui/grid/structure/{dag_id}", DAGS[:1]),
    Reading("/ui/grid/runs/{dag_id}", DAGS[:1]),
    Reading("/ui/dependencies"),
)
PARSE = f"/api/v2/parseDagFile/{FILE_TOKEN}"
SOURCE = "/api/v2/dags/breaks"
CHANGES = (
    Case("GET", "/api/v2/importErrors", "order_by=-bundle_name&order_by=filename&limit=4"),
    Case("GET", "/api/v2/importErrors", "order_by=filename&order_by=-import_error_id&limit=3&offset=3"),
    Case("GET", "/api/v2/importErrors", "filename=same_name.py&bundle_name=back"),
    Case("GET", "/api/v2/dagWarnings", "warning_type=asset%20conflict&order_by=-dag_id"),
    Case("GET", "/api/v2/dagWarnings", "order_by=warning_type&order_by=-dag_id&limit=2"),
    Case("GET", "/api/v2/dags", "has_import_errors=true&order_by=-dag_id"),
    Case("GET", "/api/v2/dags", "has_import_errors=true&bundle_name=back"),
    Case("GET", "/api/v2/dagSources/breaks", "version_number=1"),
    Case("GET", SOURCE),
    Case("PUT", PARSE),
    *as_everyone("PUT", PARSE),
    Case("PUT", "/api/v2/parseDagFile/eyJhIjoxfQ.wrong"),
    *as_everyone("PATCH", SOURCE, {"is_paused": True}),
    Case("PATCH", "/api/v2/dags", "dag_id_pattern=breaks%25&order_by=-dag_id&limit=1", {"is_paused": True}),
    Case("PATCH", "/api/v2/dags", "dag_id_pattern=~&bundle_name=front&exclude_stale=false", {"is_paused": True}),
    Case("PATCH", "/api/v2/dags", "dag_id_pattern=~&owners=baker&paused=false", {"is_paused": True}),
    Case("PATCH", "/api/v2/dags", "dag_id_pattern=~&last_dag_run_state=success", {"is_paused": True}),
    Case("PATCH", "/api/v2/dags", "dag_id_pattern=~&limit=many", {"is_paused": True}),
    Case("PATCH", "/api/v2/dags", "dag_id_pattern=breaks", {"is_paused": None}),
    Case("PATCH", "/api/v2/dags", "dag_id_pattern=breaks", {}),
    *as_everyone("PATCH", "/api/v2/dags", {"is_paused": True}, query="dag_id_pattern=breaks"),
    Case("POST", f"{SOURCE}/dagRuns", body={"dag_run_id": "new", "logical_date": None}),
    *as_everyone("DELETE", SOURCE),
    *(Case("DELETE", f"/api/v2/dags/{dag_id}") for dag_id in ("varies", "in_two_files", "ledger", "days", "bread", "late")),
    *(Case("DELETE", f"/api/v2/dags/{dag_id}") for dag_id in ("waiting", "standing", "asked", "milk_there")),
    *as_everyone("POST", f"{SOURCE}/favorite"),
    Case("POST", "/api/v2/dags/ledger/favorite"),
    *as_everyone("POST", "/api/v2/dags/ledger/unfavorite"),
    Case("POST", "/api/v2/dags/ledger/unfavorite"),
    Case("GET", "/ui/dags", "is_favorite=true", user="viewer"),
    Case("POST", "/ui/auth/token", body={"token_type": "api"}),
    *(Case("POST", "/ui/auth/token", body={"token_type": kind}) for kind in ("cli", "ui", 1, None)),
    *as_everyone("POST", "/ui/auth/token", {"token_type": "cli"}),
    Case("POST", "/ui/auth/token"),
)
