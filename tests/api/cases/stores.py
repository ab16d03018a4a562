"""Connections that are tested, and what tasks and assets keep."""

from case import Case, Reading, as_everyone

DATA = "corners"
TEST, ENQUEUE = "/api/v2/connections/test", "/api/v2/connections/enqueue-test"
FILES = {"connection_id": "files", "conn_type": "fs", "extra": '{"path": "/"}'}
NEW = {"connection_id": "new", "conn_type": "fs"}
TOKEN = (("Airflow-Connection-Test-Token", "token-of-a-connection-test"),)
TI = "/api/v2/dags/grouped/dagRuns/one/taskInstances/numbers"
MAPPED = "/api/v2/dags/grouped/dagRuns/one/taskInstances/each.odd"
XCOMS, STORE, ASSET_STORE = f"{TI}/xcomEntries", f"{TI}/state-store", "/api/v2/assets/1/state-store"
READINGS = (
    Reading("/api/v2/connections/enqueue-test"),
    Reading(
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries",
        ({"dag_id": "grouped", "dag_run_id": "one", "task_id": "~"},),
        values=(("map_index", (0, 2)), ("xcom_key", ("return_value",)), ("map_index_filter", (1,))),
    ),
)
CHANGES = (
    *(Case("GET", ENQUEUE, headers=TOKEN, user=user) for user in ("admin", "op", "user", "viewer", "nobody")),
    Case("GET", ENQUEUE, headers=(("Airflow-Connection-Test-Token", "unknown"),)),
    *(Case("POST", ENQUEUE, body=body) for body in (
        FILES,
        NEW,
        NEW | {"commit_on_success": True},
        NEW | {"queue": "other"},
        NEW | {"executor": "LocalExecutor"},
        NEW | {"executor": "unknown"},
        NEW | {"team_name": "a"},
        NEW | {"connection_id": "a b"},
        NEW | {"extra": "no json"},
        NEW | {"port": "many"},
        NEW | {"password": "secret", "login": "me", "host": "h", "schema": "s", "port": 1},
        NEW | {"surplus": 1},
        {"connection_id": "new"},
        {},
    )),
    *as_everyone("POST", ENQUEUE, NEW),
    *(Case("POST", TEST, body=body) for body in (
        NEW | {"connection_id": "a b"}, NEW | {"port": "many"}, NEW | {"surplus": 1}, {"connection_id": "new"},
        NEW | {"team_name": "a"}, NEW | {"extra": "no json"}, FILES | {"host": "elsewhere"}, {},
    )),
    *(Case("POST", TEST, body=NEW, user=user) for user in ("user", "viewer", "nobody")),
    *as_everyone("POST", "/api/v2/connections/defaults"),
    *(Case("PATCH", f"{XCOMS}/return_value", body=body) for body in (
        {"value": {"a": [1]}}, {"value": None}, {"value": "x", "map_index": 0}, {"map_index": -1}, {"value": 1, "surplus": 1})),
    Case("PATCH", f"{MAPPED.replace('odd', 'twice')}/xcomEntries/return_value", body={"value": 7, "map_index": 1}),
    Case("PATCH", f"{MAPPED.replace('odd', 'twice')}/xcomEntries/return_value", body={"value": 7}),
    *as_everyone("PATCH", f"{XCOMS}/return_value", {"value": 1}),
    *as_everyone("DELETE", f"{XCOMS}/return_value"),
    Case("DELETE", f"{MAPPED.replace('odd', 'twice')}/xcomEntries/return_value", "map_index=1"),
    Case("DELETE", f"{MAPPED.replace('odd', 'twice')}/xcomEntries/return_value"),
    Case("DELETE", f"{XCOMS}/return_value", "map_index=x"),
    *(Case("POST", XCOMS, body=body) for body in (
        {"key": "new", "value": None}, {"key": "", "value": 1}, {"key": "x" * 513, "value": 1}, {"key": "new", "value": 1, "map_index": "x"},
        {"key": 7, "value": 1}, {"key": "new", "value": 1, "surplus": 1})),
    *as_everyone("POST", XCOMS, {"key": "new", "value": 1}),
    *(Case("PUT", f"{store}/new", body=body) for store in (STORE, ASSET_STORE) for body in (
        {"value": "1"}, {"value": 1}, {"value": None}, {"value": {"a": 1}}, {"value": "1", "surplus": 1}, {}, [])),
    *(Case("PUT", f"{STORE}/new", body={"value": "1", "expires_at": moment}) for moment in (
        "2090-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "no date", None)),
    Case("PUT", f"{STORE}/new", "map_index=0", {"value": "1"}),
    Case("PUT", f"{MAPPED}/state-store/new", "map_index=1", {"value": "1"}),
    Case("PUT", f"{MAPPED}/state-store/new", body={"value": "1"}),
    Case("PUT", f"{STORE.replace('one', 'unknown')}/new", body={"value": "1"}),
    *(Case("PATCH", f"{STORE}/new", body=body) for body in ({"value": "1"}, {}, {"value": 7})),
    *(case for store in (STORE, ASSET_STORE) for case in as_everyone("PUT", f"{store}/new", {"value": "1"})),
    *(case for store in (STORE, ASSET_STORE) for case in as_everyone("DELETE", f"{store}/new")),
    *(case for store in (STORE, ASSET_STORE) for case in as_everyone("DELETE", store)),
    *as_everyone("PATCH", f"{STORE}/new", {"value": "1"}),
    Case("DELETE", STORE),
    Case("DELETE", STORE, "all_map_indices=true"),
    Case("DELETE", f"{MAPPED}/state-store", "map_index=1"),
    Case("DELETE", f"{MAPPED}/state-store/new", "map_index=1"),
    Case("DELETE", f"{STORE.replace('numbers', 'unknown')}"),
    Case("DELETE", "/api/v2/assets/x/state-store"),
    Case("DELETE", "/api/v2/assets/999/state-store/new"),
)  # fmt: skip
