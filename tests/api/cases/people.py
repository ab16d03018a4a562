"""Questions to people, and who may answer them."""

from case import Case, Reading, as_everyone

DATA = "corners"
RUN = "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}"
ONE, TWO = ({"dag_id": "asked", "dag_run_id": run} for run in ("one", "two"))
TASKS = ("chosen_ones", "several", "form", "way")
DETAILS = RUN + "/taskInstances/{task_id}/{map_index}/hitlDetails"
READINGS = (
    Reading(
        RUN + "/hitlDetails",
        (ONE, TWO),
        values=(
            ("task_id", ("form",)),
            ("state", ("awaiting_input", "success")),
            ("subject_search", ("Which", "some")),
            ("body_search", ("three",)),
            ("responded_by_user_id", ("admin", "op")),
            ("responded_by_user_name", ("admin",)),
        ),
    ),
    Reading(DETAILS, tuple(run | {"task_id": task, "map_index": -1} for run in (ONE, TWO) for task in TASKS)),
    Reading(
        DETAILS + "/tries/{try_number}",
        tuple(TWO | {"task_id": "form", "map_index": -1, "try_number": number} for number in (1, 2, 3)),
    ),
    Reading(RUN + "/taskInstances/{task_id}/tries", (TWO | {"task_id": "form"},)),
    Reading("/ui/dags", values=(("has_pending_actions", ("true", "false")), ("dag_ids", ("asked",)))),
)
ASKED = "/api/v2/dags/asked/dagRuns/one/taskInstances/{}/-1/hitlDetails"
FORM = {"chosen_options": ["OK"], "params_input": {"count": 4, "name": "n"}}
CHANGES = (
    *as_everyone("PATCH", ASKED.format("chosen_ones"), {"chosen_options": ["yes"], "params_input": {}}),
    Case("PATCH", ASKED.format("chosen_ones"), body={"chosen_options": ["yes"], "params_input": {}}),
    *(
        Case("PATCH", ASKED.format("several"), body={"chosen_options": chosen, "params_input": {}})
        for chosen in (["one"], ["three", "one"], ["one", "one"], ["four", "five"], [], "one", None)
    ),
    *(
        Case("PATCH", ASKED.format("form"), body=body)
        for body in (
            FORM,
            FORM | {"params_input": {"count": 0}},
            FORM | {"params_input": {"count": "x", "other": 1}},
            FORM | {"params_input": None},
            FORM | {"params_input": [1]},
            {"chosen_options": ["OK"]},
            {"params_input": {}},
            FORM | {"surplus": 1},
            {},
        )
    ),
    *(
        Case("PATCH", ASKED.format("way"), body={"chosen_options": chosen, "params_input": {}})
        for chosen in (["left"], ["right"], ["left", "right"], ["nowhere"])
    ),
    *as_everyone("PATCH", ASKED.format("way"), {"chosen_options": ["left"], "params_input": {}}),
    Case("PATCH", ASKED.format("on_the_left"), body=FORM),
    Case("PATCH", ASKED.format("unknown"), body=FORM),
    Case("PATCH", ASKED.format("form").replace("-1", "0"), body=FORM),
    Case("PATCH", ASKED.format("form").replace("-1", "x"), body=FORM),
    Case("PATCH", ASKED.format("form").replace("asked", "unknown", 1), body=FORM),
    Case("PATCH", ASKED.format("several").replace("one", "two"), body={"chosen_options": ["one"], "params_input": {}}),
    Case("PATCH", ASKED.format("form").replace("one", "two"), body=FORM),
    Case("POST", "/api/v2/dags/asked/clearTaskInstances", body={"dag_run_id": "two", "dry_run": False, "only_failed": False}),
    Case("PATCH", "/api/v2/dags/asked/dagRuns/one/taskInstances/form", body={"new_state": "success"}),
    Case("DELETE", "/api/v2/dags/asked/dagRuns/one/taskInstances/form"),
    Case("DELETE", "/api/v2/dags/asked/dagRuns/two"),
    Case("GET", "/api/v2/dags/~/dagRuns/~/hitlDetails", "order_by=-subject&order_by=run_id&limit=3"),
    Case("GET", "/api/v2/dags/~/dagRuns/~/hitlDetails", "response_received=true&order_by=task_id"),
)
