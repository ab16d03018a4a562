"""Task instances that wait or ended in groups, asked for and changed one by one and many at once."""

from case import NEXT, PREVIOUS, Case, Reading, as_everyone

DATA = "corners"
RUN = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}"
TASK = RUN + "/taskInstances/{task_id}"
WAITING = {"dag_id": "waiting", "dag_run_id": "one"}
GROUPED = {"dag_id": "grouped", "dag_run_id": "one"}
STATES = ("running", "deferred", "up_for_reschedule", "scheduled", "no_status", "upstream_failed")
WAYS = ("running", "deferred", "rescheduled", "no_slot", "never_free")
ODD = GROUPED | {"task_id": "each.odd"}
READINGS = (
    Reading(
        RUN + "/taskInstances",
        (GROUPED, WAITING),
        values=(("state", STATES), ("task_group_id", ("each", "outer", "inner")), ("map_index", (0, 2))),
    ),
    Reading(TASK, tuple(WAITING | {"task_id": way} for way in WAYS)),
    Reading(TASK + "/dependencies", tuple(WAITING | {"task_id": way} for way in WAYS)),
    Reading(TASK + "/{map_index}", (ODD | {"map_index": 2},)),
    Reading(TASK + "/{map_index}/tries", (ODD | {"map_index": 2},)),
    Reading(TASK + "/{map_index}/tries/{task_try_number}", (ODD | {"map_index": 2, "task_try_number": 1},)),
    Reading(TASK + "/{map_index}/dependencies", (ODD | {"map_index": 2},)),
    Reading(TASK + "/tries", (GROUPED | {"task_id": "second_time"},)),
    Reading("/api/v2/dags/{dag_id}/tasks", ({"dag_id": "grouped"}, {"dag_id": "waiting"})),
    Reading("/api/v2/pools"),
    Reading("/api/v2/pools/{pool_name}", ({"pool_name": "closed"}, {"pool_name": "default_pool"})),
    Reading("/ui/grid/structure/{dag_id}", ({"dag_id": "grouped"},)),
    Reading("/ui/grid/ti_summaries/{dag_id}", ({"dag_id": "grouped"}, {"dag_id": "waiting"}), always=(("run_ids", "one"),)),
    Reading("/ui/gantt/{dag_id}/{run_id}", ({"dag_id": "grouped", "run_id": "one"}, {"dag_id": "waiting", "run_id": "one"})),
    Reading("/ui/structure/structure_data", always=(("dag_id", "grouped"),), values=(("root", ("each.odd", "inside")),)),
    Reading("/ui/dags/{dag_id}/dagRuns/{dag_run_id}/stats", (GROUPED, WAITING)),
)
W, G = "/api/v2/dags/waiting/dagRuns/one", "/api/v2/dags/grouped/dagRuns/one"
EVERYWHERE = "/api/v2/dags/~/dagRuns/~/taskInstances"
CLEAR, CLEAR_WAITING = "/api/v2/dags/grouped/clearTaskInstances", "/api/v2/dags/waiting/clearTaskInstances"
GROUP = f"{G}/taskGroupInstances"
LIST = f"{EVERYWHERE}/list"
FAIL = {"new_state": "failed"}


def bulk(action: str, entity, **settings) -> dict:
    return {"actions": [{"action": action, "entities": [entity], **settings}]}


ENTITIES = (
    {"task_id": "numbers"},
    {"task_id": "each.odd"},
    {"task_id": "each.odd", "map_index": 2},
    {"task_id": "each.odd", "map_index": 9},
    {"task_id": "unknown"},
    {"task_id": "numbers", "dag_run_id": "unknown"},
    {"task_id": "running", "dag_id": "waiting", "dag_run_id": "one"},
)
FIELDS = (
    {"new_state": "failed"},
    {"new_state": "success", "note": "both"},
    {"note": "n"},
    {"new_state": "failed", "include_downstream": True, "include_upstream": True},
    {"new_state": "running"},
    {},
)
BODIES = (
    *({"task_ids": ["each.odd"], "only_failed": only} for only in (True, False)),
    {"task_ids": [["each.odd", 2]]},
    {"task_ids": [["each.odd", 9]], "only_failed": False},
    {"task_ids": ["unknown"], "only_failed": False},
    {"task_ids": []},
    {"task_ids": "numbers"},
    {"only_failed": True, "only_running": True},
    {"only_failed": False, "only_running": True},
    {"only_failed": False, "include_upstream": True, "task_ids": ["inside"]},
    {"only_failed": False, "include_downstream": True, "task_ids": ["numbers"]},
    {"only_failed": False, "include_past": True, "include_future": True, "task_ids": ["last"]},
    {"only_failed": False, "reset_dag_runs": False, "task_ids": ["last"]},
    {"only_failed": False, "prevent_running_task": True, "task_ids": ["last"], "note": "again"},
    {"only_failed": False, "run_on_latest_version": True, "task_ids": ["last"]},
    {"note": "x" * 1001},
    {"surplus": 1},
)
CHANGES = (
    *(
        Case("PATCH", f"{W}/taskInstances/{way}", body={"new_state": state})
        for way in WAYS
        for state in ("success", "failed", "skipped")
    ),
    *(Case("PATCH", f"{W}/taskInstances/{way}/dry_run", body=FAIL) for way in WAYS),
    *as_everyone("PATCH", f"{W}/taskInstances/running/dry_run", FAIL),
    *(Case("DELETE", f"{W}/taskInstances/{way}") for way in WAYS),
    *(
        Case("PATCH", f"{G}/taskInstances/each.odd{index}{dry}", query, body)
        for index in ("", "/0", "/2", "/9", "/x")
        for dry in ("", "/dry_run")
        for query, body in (
            ("", {"new_state": "failed"}),
            ("", {"new_state": "success", "include_downstream": True, "note": "n"}),
            ("update_mask=new_state", {"new_state": "success", "note": "n"}),
            ("update_mask=note", {"note": ""}),
            ("update_mask=note&update_mask=new_state", {"new_state": "skipped", "note": "n"}),
            ("update_mask=nothing", {"note": "n"}),
            ("", {"note": 7}),
        )
    ),
    *(
        Case("PATCH", f"{GROUP}/{group}{dry}", query, body)
        for group in ("each", "outer", "inner", "unknown")
        for dry in ("", "/dry_run")
        for query, body in (
            ("", {"new_state": "failed"}),
            ("", {"new_state": "success", "include_downstream": True, "include_upstream": True}),
            ("", {"new_state": "skipped", "include_past": True, "include_future": True, "note": "n"}),
            ("update_mask=note", {"new_state": "failed", "note": "n"}),
            ("", {"new_state": "running"}),
            ("", {}),
        )
    ),
    *as_everyone("PATCH", f"{GROUP}/each", FAIL),
    *as_everyone("PATCH", f"{GROUP}/each/dry_run", FAIL),
    *(
        Case("PATCH", f"{G}/taskInstances", body=bulk("update", entity | fields, action_on_non_existence=rule))
        for entity in ENTITIES
        for fields in FIELDS
        for rule in ("fail", "skip")
    ),
    *(
        Case("PATCH", f"{G}/taskInstances", body=bulk("delete", entity, action_on_non_existence=rule))
        for entity in (*ENTITIES, "numbers", "each.odd", "unknown")
        for rule in ("fail", "skip")
    ),
    *(
        Case("PATCH", f"{G}/taskInstances", body=bulk("update", {"task_id": "numbers", "note": "n", **FAIL}, update_mask=mask))
        for mask in (["note"], ["new_state"], ["note", "new_state"], ["nothing"], [], "note")
    ),
    *(Case("PATCH", EVERYWHERE, body=bulk("update", {"task_id": "numbers", **FAIL, **where})) for where in (
        {}, {"dag_id": "grouped"}, {"dag_id": "grouped", "dag_run_id": "one"}, {"dag_id": "~", "dag_run_id": "~"})),
    Case("PATCH", EVERYWHERE, body=bulk("delete", "numbers")),
    Case("PATCH", f"{G}/taskInstances", body={"actions": [
        {"action": "update", "entities": [{"task_id": "numbers", "note": "n", **FAIL}]},
        {"action": "delete", "entities": ["last"]},
        {"action": "create", "entities": [{"task_id": "last"}]},
    ]}),
    *(Case("PATCH", f"{G}/taskInstances", body=body) for body in (
        {"actions": []}, {}, {"actions": [{"action": "wrong", "entities": []}]}, {"actions": [{"entities": []}]},
        {"actions": "x"}, {"actions": [{"action": "update"}]}, bulk("update", "numbers"))),
    *as_everyone("PATCH", f"{G}/taskInstances", bulk("delete", "numbers")),
    *as_everyone("PATCH", f"{G}/taskInstances", bulk("update", {"task_id": "numbers", **FAIL})),
    *(Case("POST", CLEAR, body=body | {"dag_run_id": "one", "dry_run": dry}) for body in BODIES for dry in (True, False)),
    *(Case("POST", CLEAR, body=body) for body in (
        {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-02-01T00:00:00Z", "only_failed": False},
        {"start_date": "2026-03-01T00:00:00Z", "end_date": "2026-02-01T00:00:00Z"},
        {"start_date": "2026-01-01T00:00:00Z", "dag_run_id": "one"},
        {"end_date": "2026-01-01T00:00:00Z", "dag_run_id": "one"},
        {"start_date": "2026-01-01T00:00:00"},
    )),
    *(
        Case("POST", CLEAR_WAITING, body={"dag_run_id": "one", "dry_run": dry, "only_failed": False, **more})
        for dry in (True, False)
        for more in ({}, {"prevent_running_task": True}, {"task_ids": ["running"]}, {"task_ids": ["deferred", "rescheduled"]},
                     {"only_running": True}, {"task_ids": ["no_slot"], "prevent_running_task": True})
    ),
    *as_everyone("POST", CLEAR, {"dag_run_id": "one", "dry_run": False, "only_failed": False}),
    *(Case("PATCH", W, body={"state": state}) for state in ("queued", "success", "failed")),
    *(Case("POST", f"{W}/clear", body={"dry_run": dry, "only_failed": only}) for dry in (True, False) for only in (True, False)),
    *(Case("POST", f"{G}/clear", body=body) for body in (
        {"dry_run": False, "only_failed": True, "note": "again"},
        {"dry_run": False, "only_new": True},
        {"dry_run": True, "only_new": True},
        {"only_new": True, "only_failed": True},
        {"dry_run": False, "run_on_latest_version": True},
        {"dry_run": "perhaps"},
        {},
    )),
    *as_everyone("POST", f"{G}/clear", {"dry_run": False}),
    Case("DELETE", W),
    *(Case("POST", LIST, body=body) for body in (
        {"dag_ids": ["grouped"], "task_ids": ["each.odd"], "order_by": "map_index"},
        {"dag_ids": ["grouped"], "order_by": "-start_date", "page_limit": 3, "page_offset": 2},
        {"state": ["deferred", None], "dag_run_ids": ["one"]},
        {"state": []},
        {"state": ["wrong"]},
        {"pool": ["closed"], "order_by": "task_id"},
        {"queue": ["default"], "executor": ["none"]},
        {"duration_gte": 0.5, "dag_ids": ["waiting", "grouped"], "order_by": "id"},
        {"duration_lt": "long"},
        {"run_after_lte": "2026-06-01T00:00:00Z", "order_by": "run_after"},
        {"start_date_gt": "2026-06-01T00:00:00"},
        {"page_limit": 0},
        {"surplus": 1},
    )),
    *as_everyone("POST", LIST, {"dag_ids": ["grouped"]}),
    *(Case("POST", "/api/v2/dags/~/dagRuns/list", body=body) for body in (
        {"dag_ids": ["ledger"], "order_by": "-logical_date"},
        {"states": ["running", None]},
        {"conf_contains": "fails", "dag_ids": ["ledger"]},
        {"duration_gte": 0, "order_by": "-duration"},
        {"logical_date_gte": "2026-01-10T00:00:00Z", "order_by": "run_after"},
        {"states": "running"},
    )),
    *(
        Case("PATCH", G[: -len("/one")], body={"actions": [action]})
        for action in (
            {"action": "delete", "entities": ["one"]},
            {"action": "delete", "entities": [{"dag_run_id": "one"}]},
            {"action": "delete", "entities": [{"dag_run_id": "one", "dag_id": "mill"}]},
            {"action": "delete", "entities": ["unknown"], "action_on_non_existence": "fail"},
            {"action": "delete", "entities": ["unknown"], "action_on_non_existence": "skip"},
            {"action": "update", "entities": [{"dag_run_id": "one", "state": "failed", "note": "n"}]},
            {"action": "update", "entities": [{"dag_run_id": "one", "state": "success"}], "update_mask": ["note"]},
            {"action": "update", "entities": [{"dag_run_id": "one", "state": "queued"}], "update_mask": ["state"]},
            {"action": "update", "entities": [{"dag_run_id": "one", "state": "wrong"}]},
            {"action": "update", "entities": [{"dag_run_id": "unknown", "state": "failed"}]},
            {"action": "update", "entities": [{"dag_run_id": "unknown", "note": "n"}], "action_on_non_existence": "skip"},
            {"action": "create", "entities": [{"dag_run_id": "new"}]},
        )
    ),
    Case("PATCH", "/api/v2/dags/~/dagRuns", body={"actions": [{"action": "delete", "entities": ["one"]}]}),
    Case("PATCH", "/api/v2/dags/~/dagRuns", body={"actions": [
        {"action": "update", "entities": [{"dag_run_id": "first", "dag_id": "mill", "note": "n"}]}]}),
    *as_everyone("PATCH", G[: -len("/one")], {"actions": [{"action": "delete", "entities": ["one"]}]}),
    *(Case("GET", f"{G}/taskInstances", query) for query in (
        "cursor=&limit=4&order_by=task_id&order_by=-map_index",
        f"cursor={NEXT}&limit=4&order_by=task_id&order_by=-map_index",
        f"cursor={NEXT}&limit=5&order_by=task_id&order_by=-map_index",
        f"cursor={PREVIOUS}&limit=4&order_by=task_id&order_by=-map_index",
        "cursor=&limit=3&order_by=-start_date",
        f"cursor={NEXT}&limit=3&order_by=-start_date",
        f"cursor={NEXT}&limit=3&order_by=state",
        "order_by=state&order_by=-start_date&limit=5",
    )),
)  # fmt: skip
