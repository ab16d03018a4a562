"""Task instances, their attempts, logs, links, XComs, state stores and questions to people."""

from case import Case, Reading

RUN = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}"
TASK = RUN + "/taskInstances/{task_id}"
PIPELINE = {"dag_id": "pipeline", "dag_run_id": "one"}
VALUES = PIPELINE | {"task_id": "values"}
MAPPED = PIPELINE | {"task_id": "sums.double"}
AGAIN = {"dag_id": "outcomes", "dag_run_id": "one", "task_id": "again"}
CHOOSE = {"dag_id": "approval", "dag_run_id": "one", "task_id": "choose"}
FILTERS = (
    ("task_id", ("values", "sums.double")),
    ("task_group_id", ("sums", "nothing")),
    ("state", ("success", "none", ["success", "failed"])),
    ("pool", ("shop", "default_pool")),
    ("queue", ("default",)),
    ("operator", ("BashOperator",)),
    ("executor", ("LocalExecutor",)),
    ("map_index", (2,)),
    ("version_number", (1,)),
    ("response_received", ()),
    ("responded_by_user_id", ("admin",)),
    ("responded_by_user_name", ("admin",)),
)
EVERYWHERE = {"dag_id": "~", "dag_run_id": "~"}
READINGS = (
    Reading(RUN + "/taskInstances", (PIPELINE, EVERYWHERE, AGAIN), values=FILTERS),
    Reading(TASK, (VALUES, AGAIN, CHOOSE, MAPPED, PIPELINE | {"task_id": "sums.show"})),
    Reading(TASK + "/{map_index}", (MAPPED | {"map_index": 1}, VALUES | {"map_index": -1})),
    Reading(TASK + "/listMapped", (MAPPED, VALUES), values=FILTERS),
    Reading(TASK + "/tries", (AGAIN, VALUES), values=(("map_index", (0,)),)),
    Reading(TASK + "/{map_index}/tries", (MAPPED | {"map_index": 1},)),
    Reading(TASK + "/tries/{task_try_number}", (AGAIN | {"task_try_number": 1},)),
    Reading(TASK + "/{map_index}/tries/{task_try_number}", (MAPPED | {"map_index": 1, "task_try_number": 1},)),
    Reading(TASK + "/dependencies", (AGAIN, AGAIN | {"task_id": "after_failure"}, VALUES)),
    Reading(TASK + "/{map_index}/dependencies", (MAPPED | {"map_index": 1},)),
    Reading(TASK + "/logs/{try_number}", (VALUES | {"try_number": 1}, AGAIN | {"try_number": 1})),
    Reading(TASK + "/externalLogUrl/{try_number}", (VALUES | {"try_number": 1},)),
    Reading(TASK + "/links", (PIPELINE | {"task_id": "trigger"}, VALUES)),
    Reading(TASK + "/xcomEntries", (VALUES, PIPELINE | {"task_id": "~"}, EVERYWHERE | {"task_id": "~"})),
    Reading(
        TASK + "/xcomEntries/{xcom_key}",
        (
            VALUES | {"xcom_key": "return_value"},
            *(PIPELINE | {"task_id": "sums.several", "xcom_key": key} for key in ("text", "moment", "tuple")),
        ),
    ),
    Reading(TASK + "/state-store", (VALUES,)),
    Reading(TASK + "/state-store/{key}", (VALUES | {"key": "cursor"},)),
    Reading(RUN + "/hitlDetails", ({"dag_id": "approval", "dag_run_id": "one"}, EVERYWHERE), values=FILTERS),
    Reading(TASK + "/{map_index}/hitlDetails", (CHOOSE | {"map_index": -1},)),
    Reading(TASK + "/{map_index}/hitlDetails/tries/{try_number}", (CHOOSE | {"map_index": -1, "try_number": 1},)),
)
ONE = "/api/v2/dags/pipeline/dagRuns/one"
TI = f"{ONE}/taskInstances/values"
CLEAR = "/api/v2/dags/pipeline/clearTaskInstances"
FAILED = "/api/v2/dags/outcomes/clearTaskInstances"
LIST = "/api/v2/dags/~/dagRuns/~/taskInstances/list"
XCOMS = f"{TI}/xcomEntries"
STORE = f"{TI}/state-store"
QUESTION = "/api/v2/dags/approval/dagRuns/two/taskInstances/choose/-1/hitlDetails"
APPROVAL = "/api/v2/dags/approval/dagRuns/two/taskInstances/approve/-1/hitlDetails"
BULK = f"{ONE}/taskInstances"
FAILING = {"task_id": "values", "new_state": "failed"}
DOWNSTREAM = {"dag_run_id": "one", "only_failed": False, "task_ids": ["values"], "include_downstream": True}
CHANGES = (
    *(Case("PATCH", TI, body={"new_state": state}) for state in ("failed", "success", "skipped", "running", "wrong")),
    *(Case("PATCH", f"{TI}/dry_run", body={"new_state": state}) for state in ("failed", "success", "skipped")),
    Case("PATCH", TI, body={"note": "n"}),
    Case("PATCH", TI, "update_mask=note", {"note": "n", "new_state": "failed"}),
    Case("PATCH", TI, body={"new_state": "failed", "include_downstream": True}),
    Case("PATCH", TI, body={"new_state": "failed", "include_future": True, "include_past": True}),
    Case("PATCH", TI, body={}),
    Case("PATCH", TI, body={"new_state": "failed"}, user="viewer"),
    Case("PATCH", TI, body={"new_state": "failed"}, user="user"),
    Case("PATCH", f"{ONE}/taskInstances/unknown", body={"new_state": "failed"}),
    Case("PATCH", f"{ONE}/taskInstances/sums.double/1", body={"new_state": "failed"}),
    Case("PATCH", f"{ONE}/taskInstances/sums.double/1/dry_run", body={"new_state": "failed"}),
    Case("PATCH", f"{ONE}/taskInstances/sums.double/9", body={"new_state": "failed"}),
    Case("PATCH", f"{ONE}/taskInstances/sums.double", body={"new_state": "failed"}),
    Case("PATCH", f"{ONE}/taskGroupInstances/sums", body={"new_state": "failed"}),
    Case("PATCH", f"{ONE}/taskGroupInstances/sums/dry_run", body={"new_state": "failed"}),
    Case("PATCH", f"{ONE}/taskGroupInstances/unknown", body={"new_state": "failed"}),
    Case("DELETE", TI),
    Case("DELETE", f"{ONE}/taskInstances/sums.double", "map_index=1"),
    Case("DELETE", f"{ONE}/taskInstances/unknown"),
    Case("DELETE", TI, user="viewer"),
    Case("PATCH", BULK, body={"actions": [{"action": "delete", "entities": ["values", "unknown"]}]}),
    Case("PATCH", BULK, body={"actions": [{"action": "update", "entities": [FAILING]}]}),
    Case("PATCH", BULK, body={"actions": [{"action": "create", "entities": [{"task_id": "values"}]}]}),
    Case("POST", CLEAR, body={"dag_run_id": "one", "dry_run": True, "only_failed": False}),
    Case("POST", CLEAR, body={"dag_run_id": "one", "dry_run": False, "only_failed": False}),
    Case("POST", CLEAR, body={"dag_run_id": "one", "dry_run": False, "only_failed": False, "task_ids": ["values"]}),
    Case("POST", CLEAR, body={"dry_run": True, "only_failed": False, "task_ids": [["sums.double", 1]]}),
    Case("POST", CLEAR, body=DOWNSTREAM),
    Case("POST", CLEAR, body={"dag_run_id": "unknown"}),
    Case("POST", CLEAR, body={"start_date": "no date"}),
    Case("POST", CLEAR, body={}, user="viewer"),
    Case("POST", "/api/v2/dags/unknown/clearTaskInstances", body={}),
    Case("POST", FAILED, body={"dry_run": False, "only_failed": True, "dag_run_id": "one"}),
    Case("POST", FAILED, body={"dry_run": False, "only_failed": True, "dag_run_id": "one", "note": "again"}),
    Case("POST", LIST, body={}),
    Case("POST", LIST, body={"dag_ids": ["pipeline"], "state": ["success"], "order_by": "-task_id", "page_limit": 3}),
    Case("POST", LIST, body={"order_by": "nothing"}),
    Case("POST", LIST, body={"page_limit": "many"}),
    Case("POST", XCOMS, body={"key": "new", "value": {"a": 1}}),
    Case("POST", XCOMS, body={"key": "return_value", "value": 1}),
    Case("POST", XCOMS, body={"key": "new", "value": 1, "map_index": 7}),
    Case("POST", XCOMS, body={"value": 1}),
    Case("POST", XCOMS, body={"key": "new", "value": 1}, user="viewer"),
    Case("PATCH", f"{XCOMS}/return_value", body={"value": "changed"}),
    Case("PATCH", f"{XCOMS}/unknown", body={"value": 1}),
    Case("DELETE", f"{XCOMS}/return_value"),
    Case("DELETE", f"{XCOMS}/unknown"),
    Case("PUT", f"{STORE}/mark", body={"value": "1"}),
    Case("PUT", f"{STORE}/cursor", body={"value": "1"}),
    Case("PATCH", f"{STORE}/cursor", body={"value": "1"}),
    Case("PATCH", f"{STORE}/unknown", body={"value": "1"}),
    Case("PUT", f"{STORE}/mark", body={}),
    Case("DELETE", f"{STORE}/cursor"),
    Case("DELETE", f"{STORE}/unknown"),
    Case("DELETE", STORE),
    Case("PATCH", QUESTION, body={"chosen_options": ["one"], "params_input": {"note": "n"}}),
    Case("PATCH", QUESTION, body={"chosen_options": ["three"], "params_input": {}}),
    Case("PATCH", QUESTION, body={"chosen_options": ["one", "two"]}),
    Case("PATCH", QUESTION, body={"chosen_options": []}),
    Case("PATCH", QUESTION, body={"chosen_options": ["one"]}, user="viewer"),
    Case("PATCH", APPROVAL, body={"chosen_options": ["Approve"]}),
    Case("PATCH", APPROVAL.replace("two", "one"), body={"chosen_options": ["Reject"]}),
    Case("PATCH", QUESTION.replace("two", "one"), body={"chosen_options": ["one"]}),
    Case("PATCH", QUESTION.replace("two", "unknown"), body={"chosen_options": ["one"]}),
)
