"""Assets, their aliases and events, what waits for them, and their state stores."""

from case import Case, Reading

FILTERS = (
    ("dag_ids", ("produce", ["produce", "consume"])),
    ("asset_id", (1, 2, 3)),
    ("source_dag_id", ("produce",)),
    ("source_task_id", ("write",)),
    ("source_run_id", ("one",)),
)
READINGS = (
    Reading("/api/v2/assets", values=FILTERS),
    Reading("/api/v2/assets/{asset_id}", tuple({"asset_id": asset} for asset in (1, 2, 3))),
    Reading("/api/v2/assets/aliases"),
    Reading("/api/v2/assets/aliases/{asset_alias_id}", ({"asset_alias_id": 1},)),
    Reading("/api/v2/assets/events", values=FILTERS),
    Reading("/api/v2/assets/{asset_id}/queuedEvents", tuple({"asset_id": asset} for asset in (1, 2, 3))),
    Reading("/api/v2/assets/{asset_id}/state-store", tuple({"asset_id": asset} for asset in (1, 2, 3))),
    Reading("/api/v2/assets/{asset_id}/state-store/{key}", ({"asset_id": 1, "key": "mark"},)),
    Reading("/api/v2/dags/{dag_id}/assets/queuedEvents", ({"dag_id": "consume_both"}, {"dag_id": "pipeline"})),
    Reading(
        "/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents",
        tuple({"dag_id": "consume_both", "asset_id": asset} for asset in (1, 2, 3)),
    ),
)
EVENTS = "/api/v2/assets/events"
CHANGES = (
    *(Case("POST", EVENTS, body={"asset_id": asset, "extra": {"by": "hand"}}) for asset in (1, 2, 3)),
    Case("POST", EVENTS, body={"asset_id": 999}),
    Case("POST", EVENTS, body={"asset_id": "x"}),
    Case("POST", EVENTS, body={"asset_id": 1, "surplus": 1}),
    *(Case("POST", EVENTS, body={"asset_id": 1}, user=user) for user in ("op", "user", "viewer", "nobody")),
    *(Case("POST", f"/api/v2/assets/{asset}/materialize") for asset in (1, 2, 3, 999)),
    Case("POST", "/api/v2/assets/1/materialize", body={"dag_run_id": "made", "note": "n"}),
    *(Case("DELETE", f"/api/v2/assets/{asset}/queuedEvents") for asset in (1, 2, 3, 999)),
    Case("DELETE", "/api/v2/dags/consume_both/assets/queuedEvents"),
    Case("DELETE", "/api/v2/dags/pipeline/assets/queuedEvents"),
    *(Case("DELETE", f"/api/v2/dags/consume_both/assets/{asset}/queuedEvents") for asset in (1, 2, 3)),
    Case("PUT", "/api/v2/assets/1/state-store/new", body={"value": "1"}),
    Case("PUT", "/api/v2/assets/1/state-store/new", body={"value": "1"}, user="viewer"),
    Case("PUT", "/api/v2/assets/999/state-store/new", body={"value": "1"}),
    *(Case("DELETE", f"/api/v2/assets/{asset}/state-store/mark") for asset in (1, 2, 3)),
    *(Case("DELETE", f"/api/v2/assets/{asset}/state-store") for asset in (1, 2, 3)),
)
