"""What users do to runs while they run or afterwards: clear, mark, pause, delete, backfill, edit the Dag.

Every scenario plays on a Dag of its own, named after it. All tasks are `Controlled`: they do what steps tell them.
"""

from __future__ import annotations

from dataclasses import dataclass

from steps import (
    BackfillDone, Call, Edit, Ended, Length, Look, Remove, Settle, StartOrder, Tell, Traced, Trigger, Until, UntilRun,
    Untell,
)  # fmt: skip

DAG = "/dags/{dag}"
RUN = f"{DAG}/dagRuns/one"
RUNS = ("one", "two", "three")
REPROCESS = ("none", "failed", "completed")


@dataclass(frozen=True)
class Operation:
    name: str
    source: str
    steps: tuple
    ends: bool = True
    """Whether all runs come to an end; if not, they are recorded when nothing has happened for a while."""


def clear(*task_ids, run_id: str | None = "one", **options) -> Call:
    """Clears tasks for real and whatever their state, unless told otherwise."""
    body = {"dry_run": False, "only_failed": False} | options
    body |= {"dag_run_id": run_id} if run_id else {}
    body |= {"task_ids": [list(task) if isinstance(task, tuple) else task for task in task_ids]} if task_ids else {}
    return Call("POST", f"{DAG}/clearTaskInstances", body)


def clear_run(run_id: str = "one", **options) -> Call:
    return Call("POST", f"{DAG}/dagRuns/{run_id}/clear", {"dry_run": False} | options)


def mark(task_id: str, state: str, map_index: int | None = None, run_id: str = "one", **options) -> Call:
    path = f"{DAG}/dagRuns/{run_id}/taskInstances/{task_id}" + ("" if map_index is None else f"/{map_index}")
    return Call("PATCH", path, {"new_state": state} | options)


def mark_group(state: str, **options) -> Call:
    return Call("PATCH", f"{RUN}/taskGroupInstances/group", {"new_state": state} | options)


def mark_run(state: str, run_id: str = "one") -> Call:
    return Call("PATCH", f"{DAG}/dagRuns/{run_id}", {"state": state})


def paused(is_paused: bool) -> Call:
    return Call("PATCH", DAG, {"is_paused": is_paused})


def backfill(first: int = 1, last: int = 3, path: str = "/backfills", **options) -> Call:
    dates = {"from_date": f"2026-01-{first:02}T00:00:00Z", "to_date": f"2026-01-{last:02}T00:00:00Z"}
    return Call("POST", path, {"dag_id": "{dag}"} | dates | options)


def tell(verb: str, *names: str) -> Tell:
    return Tell(verb, names)


def untell(verb: str, *names: str) -> Untell:
    return Untell(verb, names)


# What many scenarios begin with.
ENDED = (Trigger(), Ended())
THREE_ENDED = (*(Trigger(run_id) for run_id in RUNS), Ended())
def three_at(hour: int) -> tuple:
    """Three runs at an hour that no other Dag has runs at: Airflow mistakes a run of another Dag with the same id and
    date for one of this Dag when a mark reaches into the past or the future."""
    return (*(Trigger(run_id, date=f"2026-01-0{day}T{hour:02}:00:00Z") for day, run_id in enumerate(RUNS, 1)), Ended())


B_FAILED = (tell("fail", "b"), Trigger(), Ended(), untell("fail", "b"))
B_RUNS = (tell("hold", "b"), Trigger(), Traced("b"))
GO_ON = untell("hold", "b")


def held(task_id: str) -> tuple:
    return (tell("hold", task_id), Trigger(), Traced(task_id))


CLEAR = [
    Operation("clear_task", "chain", (*ENDED, clear("b"))),
    Operation("clear_task_downstream", "chain", (*ENDED, clear("b", include_downstream=True))),
    Operation("clear_task_upstream", "chain", (*ENDED, clear("b", include_upstream=True))),
    Operation("clear_task_past", "chain", (*THREE_ENDED, clear("b", run_id="two", include_past=True))),
    Operation("clear_task_future", "chain", (*THREE_ENDED, clear("b", run_id="two", include_future=True))),
    Operation(
        "clear_task_everywhere", "chain",
        (*THREE_ENDED, clear("b", run_id="two", include_past=True, include_future=True, include_downstream=True)),
    ),
    Operation("clear_undated_past", "chain", (Trigger(dated=False), Ended(), clear("b", include_past=True))),
    Operation("clear_undated", "chain", (Trigger(dated=False), Ended(), clear("b"))),
    Operation(
        "clear_by_dates", "chain",
        (
            *THREE_ENDED,
            clear("c", run_id=None, start_date="2026-01-02T00:00:00Z", end_date="2026-01-03T00:00:00Z"),
            Ended(),
            clear("b", run_id=None, end_date="2026-01-01T00:00:00Z", include_downstream=True),
        ),
    ),
    Operation("clear_failed", "chain", (*B_FAILED, clear(only_failed=True))),
    Operation("clear_failed_task", "chain", (*B_FAILED, clear("b"))),
    Operation("clear_failed_none", "chain", (*ENDED, clear(only_failed=True))),
    Operation("clear_failed_again", "chain", (*B_FAILED, tell("fail", "b"), clear("b", include_downstream=True))),
    Operation("clear_all", "chain", (*ENDED, clear())),
    Operation("clear_twice", "chain", (*ENDED, clear("c"), Ended(), clear("b", "c"))),
    Operation("clear_dry_run", "chain", (*ENDED, clear("b", dry_run=True, include_downstream=True))),
    Operation("clear_note", "chain", (*ENDED, clear("b", note="once more"))),
    Operation(
        "clear_refused", "chain",
        (
            *ENDED,
            clear("nothing"),
            clear("b", run_id="nothing"),
            clear(only_failed=True, only_running=True),
            Call("POST", f"{DAG}/clearTaskInstances", {"dry_run": False, "task_ids": []}),
            Call("POST", "/dags/no_such_dag/clearTaskInstances", {"dry_run": False}),
            clear_run("nothing"),
            clear_run(only_new=True, only_failed=True),
            Call("POST", f"{DAG}/clearDagRuns", {"dry_run": False}),
        ),
    ),
    Operation("clear_running", "chain", (*B_RUNS, clear("b"), Look("cleared"), Traced("b", "killed"), GO_ON)),
    Operation("clear_only_running", "chain", (*B_RUNS, clear(only_running=True), Traced("b", "killed"), GO_ON)),
    Operation("clear_running_prevented", "chain", (*B_RUNS, clear("b", prevent_running_task=True), GO_ON)),
    Operation(
        "clear_running_all_prevented", "chain", (*B_RUNS, clear(prevent_running_task=True), Look("refused"), GO_ON)
    ),
    Operation("clear_before_running", "chain", (*B_RUNS, clear("a"), Until("a"), GO_ON)),
    Operation("clear_waiting", "chain", (*B_RUNS, clear("c"), GO_ON)),
    Operation(
        "clear_running_twice", "chain",
        (
            *B_RUNS, clear("b"), Traced("b", "killed"), Traced("b", "started", try_number=2), clear("b"),
            Traced("b", "killed", try_number=2), GO_ON,
        ),
    ),
    Operation("clear_keeping_run", "chain", (*ENDED, clear("b", reset_dag_runs=False), Settle())),
    Operation("clear_keeping_failed_run", "chain", (*B_FAILED, clear("b", "c", reset_dag_runs=False), Settle())),
    Operation(
        "clear_keeping_running_run", "chain", (*B_RUNS, clear("a", reset_dag_runs=False), Until("a"), GO_ON)
    ),
    Operation(
        "clear_queued_run", "single",
        (tell("hold", "one b"), Trigger(), Traced("b"), Trigger("two"), clear(run_id="two"), untell("hold", "one b")),
    ),
    Operation(
        "clear_while_other_runs", "single",
        (
            Trigger(), Ended(), tell("hold", "two b"), Trigger("two"), Traced("b", run_id="two"), clear("b"), Settle(),
            Look("one waits"), untell("hold", "two b"), Ended(), StartOrder(),
        ),
    ),
    Operation("clear_retried", "retrying", (
        tell("fail", "at_once"), Trigger(), Ended(), Look("failed"), clear("at_once"), Ended(),
        untell("fail", "at_once"), clear("at_once", include_downstream=True),
    )),
    Operation("clear_up_for_retry", "retrying", (
        tell("fail", "later"), Trigger(), Until("later", "up_for_retry"), untell("fail", "later"), clear("later"),
    )),
    Operation("clear_up_for_reschedule", "waiting", (
        Trigger(), Until("rescheduled", "up_for_reschedule"), Until("deferred", "deferred"), clear("rescheduled"),
        Until("rescheduled", "up_for_reschedule"), Settle(),
    ), ends=False),
    Operation("clear_deferred", "waiting", (
        Trigger(), Until("rescheduled", "up_for_reschedule"), Until("deferred", "deferred"), clear("deferred"),
        Settle(),
    ), ends=False),
    Operation("clear_skipped", "branches", (
        tell("skip", "b"), Trigger(), Ended(), untell("skip", "b"), clear("b"), Ended(),
        clear("a", include_downstream=True),
    )),
    Operation("clear_group", "grouped", (*ENDED, clear("group.one", "group.two"), Ended(), clear("group.one"))),
    Operation("clear_teardown_work", "teardown", (*ENDED, clear("work"))),
    Operation("clear_teardown", "teardown", (*ENDED, clear("teardown"))),
    Operation("clear_setup", "teardown", (*ENDED, clear("setup"))),
    Operation("clear_after_teardown", "teardown", (*ENDED, clear("work", include_downstream=True))),
    Operation("clear_mapped_index", "mapped", (*ENDED, clear(("write", 1)))),
    Operation("clear_mapped_index_downstream", "mapped", (*ENDED, clear(("write", 1), include_downstream=True))),
    Operation("clear_mapped_index_upstream", "mapped", (*ENDED, clear(("write", 1), include_upstream=True))),
    Operation("clear_mapped", "mapped", (*ENDED, clear("write"))),
    Operation("clear_mapped_failed", "mapped", (
        tell("fail", "write[1]"), Trigger(), Ended(), untell("fail", "write[1]"), clear(only_failed=True),
    )),
    Operation("clear_mapped_running_index", "mapped", (
        tell("hold", "write[1]"), Trigger(), Traced("write", map_index=1), clear(("write", 1)),
        Traced("write", "killed", map_index=1), untell("hold", "write[1]"),
    )),
    Operation("clear_mapped_source", "mapped", (*ENDED, clear("make"))),
    Operation("clear_mapped_shorter", "mapped", (*ENDED, Length(2), clear("make", include_downstream=True))),
    Operation("clear_mapped_longer", "mapped", (*ENDED, Length(4), clear("make", include_downstream=True))),
    Operation("clear_mapped_to_nothing", "mapped", (*ENDED, Length(0), clear("make", include_downstream=True))),
    Operation("clear_mapped_from_nothing", "mapped", (
        Length(0), *ENDED, Length(2), clear("make", include_downstream=True),
    )),
    Operation("clear_mapped_removed", "mapped", (
        *ENDED, Length(2), clear("make", include_downstream=True), Ended(), clear("write"), Ended(), Length(3),
        clear("make", include_downstream=True),
    )),
    Operation("clear_mapped_unexpanded", "mapped", (*held("make"), clear("write"), untell("hold", "make"))),
    Operation("clear_mapped_group_index", "mapped_group", (*ENDED, clear(("group.one", 1), include_downstream=True))),
    Operation("clear_mapped_group_up", "mapped_group", (*ENDED, clear(("group.two", 1), include_upstream=True))),
    Operation("clear_run", "chain", (*ENDED, clear_run(note="again"))),
    Operation("clear_run_failed", "chain", (*B_FAILED, clear_run(only_failed=True))),
    Operation("clear_run_running", "chain", (*B_RUNS, clear_run(), Traced("b", "killed"), GO_ON)),
    Operation("clear_run_dry", "chain", (
        *B_FAILED, clear_run(dry_run=True), clear_run(dry_run=True, only_failed=True),
    )),
    Operation("clear_run_with_other", "single", (
        Trigger(), Ended(), Trigger("two"), Ended(), clear_run(), clear_run("two"),
    )),
    Operation("clear_runs", "chain", (
        Trigger(), Trigger("two"), Ended(),
        Call("POST", f"{DAG}/clearDagRuns", {"dry_run": True, "dag_runs": [{"dag_run_id": "one"}]}),
        Call("POST", f"{DAG}/clearDagRuns", {
            "dry_run": False, "dag_runs": [{"dag_run_id": "one"}, {"dag_run_id": "two"}], "note": "both",
        }),
    )),
]  # fmt: skip

MARK = [
    Operation("mark_failed_as_success", "chain", (*B_FAILED, mark("b", "success"))),
    Operation("mark_failed_as_skipped", "chain", (*B_FAILED, mark("b", "skipped"))),
    Operation("mark_success_as_failed", "chain", (*ENDED, mark("b", "failed"), Settle())),
    Operation("mark_success_as_failed_downstream", "chain", (
        *ENDED, mark("b", "failed", include_downstream=True), Settle(), mark("b", "success"),
    )),
    Operation("mark_upstream_failed_as_success", "chain", (*B_FAILED, mark("c", "success"))),
    Operation("mark_upstream", "chain", (*B_FAILED, mark("c", "success", include_upstream=True))),
    Operation("mark_running_as_success", "chain", (
        *B_RUNS, mark("b", "success"), Traced("b", "killed"), Ended(), GO_ON,
    )),
    Operation("mark_running_as_failed", "chain", (*B_RUNS, mark("b", "failed"), Traced("b", "killed"), Ended(), GO_ON)),
    Operation("mark_running_as_skipped", "chain", (
        *B_RUNS, mark("b", "skipped"), Traced("b", "killed"), Ended(), GO_ON,
    )),
    Operation("mark_waiting_as_success", "chain", (*held("a"), mark("c", "success"), untell("hold", "a"))),
    Operation("mark_waiting_as_failed", "chain", (*held("a"), mark("c", "failed"), untell("hold", "a"))),
    Operation("mark_waiting_middle_as_failed", "chain", (
        *held("a"), mark("b", "failed"), Settle(), untell("hold", "a"),
    )),
    Operation("mark_waiting_middle_as_success", "chain", (
        *held("a"), mark("b", "success"), Until("c"), untell("hold", "a"),
    )),
    Operation("mark_past", "chain", (
        tell("fail", "b"), *three_at(1), untell("fail", "b"), mark("b", "success", run_id="two", include_past=True),
    )),
    Operation("mark_future", "chain", (
        tell("fail", "b"), *three_at(2), untell("fail", "b"), mark("b", "success", run_id="two", include_future=True),
    )),
    Operation("mark_everywhere", "chain", (
        tell("fail", "b"), *THREE_ENDED, untell("fail", "b"),
        mark("b", "success", run_id="two", include_future=True, include_past=True),
    )),
    Operation("mark_past_of_schedule", "daily", (
        tell("fail", "a"), *(Trigger(run_id, date=f"2026-01-1{day}T00:00:00Z") for day, run_id in enumerate(RUNS, 1)),
        Trigger("between", date="2026-01-12T12:00:00Z"), Ended(), untell("fail", "a"),
        mark("a", "success", run_id="three", include_past=True),
    )),
    Operation("mark_same_state", "chain", (*ENDED, mark("b", "success"))),
    Operation("mark_refused", "chain", (
        *ENDED, mark("nothing", "success"), mark("b", "success", run_id="nothing"), mark("b", "running"),
        mark("b", "success", 4), mark_run("running"), mark_run("success", "nothing"),
    )),
    Operation("mark_dry_run", "chain", (
        *ENDED,
        Call("PATCH", f"{RUN}/taskInstances/b/dry_run", {"new_state": "failed", "include_downstream": True}),
    )),
    Operation("mark_note", "chain", (
        *ENDED, Call("PATCH", f"{RUN}/taskInstances/b", {"note": "looked at"}),
        mark("c", "failed", note="on purpose"), Settle(),
    )),
    Operation("mark_mapped_index", "mapped", (
        tell("fail", "write[1]"), Trigger(), Ended(), mark("write", "success", 1),
    )),
    Operation("mark_mapped", "mapped", (tell("fail", "write"), Trigger(), Ended(), mark("write", "success"))),
    Operation("mark_mapped_index_of_success", "mapped", (*ENDED, mark("write", "failed", 1), Settle())),
    Operation("mark_mapped_unexpanded", "mapped", (*held("make"), mark("write", "success"), untell("hold", "make"))),
    Operation("mark_mapped_source", "mapped", (tell("fail", "make"), Trigger(), Ended(), mark("make", "success"))),
    Operation("mark_group", "grouped", (tell("fail", "group.one"), Trigger(), Ended(), mark_group("success"))),
    Operation("mark_group_running", "grouped", (
        *held("group.one"), mark_group("failed"), Traced("group.one", "killed"), Ended(), untell("hold", "group.one"),
    )),
    Operation("mark_group_same", "grouped", (*ENDED, mark_group("success"))),
    Operation("mark_up_for_retry_as_success", "retrying", (
        tell("fail", "later"), Trigger(), Until("later", "up_for_retry"), mark("later", "success"),
    )),
    Operation("mark_up_for_retry_as_failed", "retrying", (
        tell("fail", "later"), Trigger(), Until("later", "up_for_retry"), mark("later", "failed"),
    )),
    Operation("mark_waiting_kinds", "waiting", (
        Trigger(), Until("rescheduled", "up_for_reschedule"), Until("deferred", "deferred"),
        mark("rescheduled", "success"), mark("deferred", "failed"),
    )),
    Operation("mark_many", "chain", (
        *B_FAILED,
        Call("PATCH", f"{RUN}/taskInstances", {"actions": [{
            "action": "update", "entities": [{"task_id": "b", "new_state": "success"}],
        }]}),
    )),
    Operation("mark_run_success", "chain", (
        *B_RUNS, mark_run("success"), Look("marked"), Traced("b", "killed"), GO_ON, Settle(),
    )),
    Operation("mark_run_failed", "chain", (*B_RUNS, mark_run("failed"), Traced("b", "killed"), GO_ON, Settle())),
    Operation("mark_run_queued", "chain", (*ENDED, mark_run("queued"))),
    Operation("mark_run_queued_after_failure", "chain", (*B_FAILED, mark_run("queued"))),
    Operation("mark_ended_run_failed", "chain", (*ENDED, mark_run("failed"), Settle())),
    Operation("mark_failed_run_success", "chain", (*B_FAILED, mark_run("success"), Settle())),
    Operation("mark_run_failed_with_teardown", "teardown", (
        *held("work"), mark_run("failed"), Traced("work", "killed"), untell("hold", "work"), Ended(),
    )),
    Operation("mark_run_waiting_kinds", "waiting", (
        Trigger(), Until("rescheduled", "up_for_reschedule"), Until("deferred", "deferred"), mark_run("success"),
    )),
    Operation("mark_queued_run", "single", (
        tell("hold", "one b"), Trigger(), Traced("b"), Trigger("two"), mark_run("failed", "two"),
        untell("hold", "one b"),
    )),
    Operation("mark_run_up_for_retry", "retrying", (
        tell("fail", "later"), Trigger(), Until("later", "up_for_retry"), mark_run("failed"), Settle(),
    )),
    Operation("mark_runs", "chain", (
        tell("fail", "b"), Trigger(), Trigger("two"), Ended(),
        Call("PATCH", f"{DAG}/dagRuns", {"actions": [{
            "action": "update",
            "entities": [{"dag_run_id": "one", "state": "success"}, {"dag_run_id": "two", "note": "seen"}],
        }]}),
        Settle(),
    )),
    Operation("note_run", "chain", (
        *ENDED, Call("PATCH", RUN, {"note": "first"}), Call("PATCH", RUN, {"note": "second"}),
    )),
    Operation("run_conf", "chain", (
        Trigger(conf={"list": [1, {"a": None}], "text": "ü"}), Ended(), clear("b"),
    )),
]  # fmt: skip

PAST = [
    Operation("past_mark_success", "past", (
        tell("fail", "one a"), Trigger(), Ended("one"), Trigger("two"), Settle(), Look("two waits"),
        mark("a", "success"),
    )),
    Operation("past_mark_skipped", "past", (
        tell("fail", "one a"), Trigger(), Ended("one"), Trigger("two"), Settle(), mark("a", "skipped"),
    )),
    Operation("past_clear", "past", (
        tell("fail", "one a"), Trigger(), Ended("one"), Trigger("two"), Settle(), untell("fail", "one a"),
        clear("a", include_downstream=True),
    )),
    Operation("past_clear_both", "past", (
        Trigger(), Ended(), Trigger("two"), Ended(), clear("a", include_future=True, include_downstream=True),
    )),
    Operation("past_clear_earlier", "past", (
        Trigger(), Ended(), tell("hold", "one a"), clear("a"), Traced("a", try_number=2), Trigger("two"), Settle(),
        Look("two waits"), untell("hold", "one a"),
    )),
    Operation("past_delete_earlier", "past", (
        tell("fail", "one a"), Trigger(), Ended("one"), Trigger("two"), Settle(), Call("DELETE", RUN),
    )),
]  # fmt: skip

DELETE = [
    Operation("delete_run", "chain", (Trigger(), Trigger("two"), Ended(), Call("DELETE", RUN), Call("GET", RUN))),
    Operation("delete_running_run", "chain", (*B_RUNS, Call("DELETE", RUN), GO_ON)),
    Operation("delete_queued_run", "single", (
        tell("hold", "one b"), Trigger(), Traced("b"), Trigger("two"), Call("DELETE", f"{DAG}/dagRuns/two"),
        untell("hold", "one b"),
    )),
    Operation("delete_run_and_again", "chain", (*ENDED, Call("DELETE", RUN), *ENDED)),
    Operation("delete_runs", "chain", (
        Trigger(), Trigger("two"), Ended(),
        Call("PATCH", f"{DAG}/dagRuns", {"actions": [{"action": "delete", "entities": ["one", "nothing"]}]}),
        Call("PATCH", f"{DAG}/dagRuns", {"actions": [{"action": "delete", "entities": ["one"]}]}),
    )),
    Operation("delete_task_instance", "chain", (*ENDED, Call("DELETE", f"{RUN}/taskInstances/b"), Settle())),
    Operation("delete_task_instance_then_clear", "chain", (
        *ENDED, Call("DELETE", f"{RUN}/taskInstances/b"), clear_run(),
    )),
    Operation("delete_waiting_task_instance", "chain", (*B_RUNS, Call("DELETE", f"{RUN}/taskInstances/c"), GO_ON)),
    Operation("delete_running_task_instance", "chain", (
        *B_RUNS, Call("DELETE", f"{RUN}/taskInstances/b"), Traced("b", "killed"), Settle(), GO_ON,
    )),
    Operation("delete_dag", "chain", (*ENDED, Call("DELETE", DAG), Call("GET", DAG))),
    Operation("delete_dag_and_again", "chain", (
        *ENDED, Call("DELETE", DAG), Edit("chain"), paused(False), Trigger("two"), Ended(),
    )),
    Operation("delete_running_dag", "chain", (*B_RUNS, Call("DELETE", DAG), GO_ON)),
    Operation("delete_refused", "chain", (
        Call("DELETE", RUN), Call("DELETE", "/dags/no_such_dag"), Call("DELETE", f"{RUN}/taskInstances/b"),
    )),
]  # fmt: skip

PAUSE = [
    Operation("pause_while_running", "chain", (
        *B_RUNS, paused(True), GO_ON, Until("b"), Settle(), Look("paused"), paused(False),
    )),
    Operation("pause_before_trigger", "chain", (paused(True), Trigger(), Settle(), Look("paused"), paused(False))),
    Operation("pause_then_clear", "chain", (*ENDED, paused(True), clear("b"), Settle(), Look("paused"), paused(False))),
    Operation("pause_last_task", "chain", (
        *held("c"), paused(True), untell("hold", "c"), Until("c"), Settle(), Look("paused"), paused(False),
    )),
]  # fmt: skip

BACKFILL = [
    Operation("backfill", "daily", (backfill(), Ended(), BackfillDone())),
    Operation("backfill_dry_run", "daily", (Trigger("two"), Ended(), backfill(path="/backfills/dry_run"))),
    Operation("backfill_dry_run_completed", "daily", (
        Trigger("two"), Ended(), backfill(path="/backfills/dry_run", reprocess_behavior="completed"),
    )),
    Operation("backfill_existing", "daily", (Trigger("two"), Ended(), backfill(), Ended(), BackfillDone())),
    Operation("backfill_failed", "daily", (
        tell("fail", "two a"), Trigger("one"), Trigger("two"), Ended(), untell("fail", "two a"),
        backfill(reprocess_behavior="failed"), Ended(), BackfillDone(),
    )),
    Operation("backfill_completed", "daily", (
        Trigger("two"), Ended(), backfill(reprocess_behavior="completed", dag_run_conf={"again": True}), Ended(),
        BackfillDone(),
    )),
    Operation("backfill_in_flight", "daily", (
        tell("hold", "a"), Trigger("two"), Traced("a", run_id="two"), backfill(reprocess_behavior="completed"),
        Traced("a", run_id="backfill__2026-01-01T00:00:00+00:00"),
        Traced("a", run_id="backfill__2026-01-03T00:00:00+00:00"), Look("made"), untell("hold", "a"), Ended(),
        BackfillDone(),
    )),
    Operation("backfill_backwards", "daily", (
        backfill(run_backwards=True, max_active_runs=1), Ended(), BackfillDone(), StartOrder(),
    )),
    Operation("backfill_one_at_a_time", "daily", (backfill(max_active_runs=1), Ended(), BackfillDone(), StartOrder())),
    Operation("backfill_paused", "daily", (
        tell("hold", "a"), backfill(max_active_runs=1),
        Traced("a", run_id="backfill__2026-01-01T00:00:00+00:00"), Call("PUT", "/backfills/{backfill}/pause"),
        untell("hold", "a"), Settle(), Look("paused"), Call("PUT", "/backfills/{backfill}/unpause"), Ended(),
        BackfillDone(),
    )),
    Operation("backfill_cancelled", "daily", (
        tell("hold", "a"), backfill(max_active_runs=1),
        Traced("a", run_id="backfill__2026-01-01T00:00:00+00:00"), Call("PUT", "/backfills/{backfill}/cancel"),
        Look("cancelled"), untell("hold", "a"), Ended(), Call("PUT", "/backfills/{backfill}/cancel"),
        Call("PUT", "/backfills/{backfill}/unpause"),
    )),
    Operation("backfill_cancelled_cleared", "daily", (
        tell("hold", "a"), backfill(max_active_runs=1),
        Traced("a", run_id="backfill__2026-01-01T00:00:00+00:00"), Call("PUT", "/backfills/{backfill}/cancel"),
        untell("hold", "a"), Ended(), clear_run("backfill__2026-01-02T00:00:00+00:00"), Settle(),
    ), ends=False),
    Operation("backfill_overlapping", "daily", (
        tell("hold", "a"), backfill(), backfill(2, 5), untell("hold", "a"), Ended(), BackfillDone(), backfill(2, 4),
        Ended(), BackfillDone(),
    )),
    Operation("backfill_refused", "chain", (
        backfill(), backfill(path="/backfills/dry_run"),
        Call("POST", "/backfills", {
            "dag_id": "no_such_dag", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z",
        }),
        Call("PUT", "/backfills/999999/cancel"),
    )),
    Operation("backfill_bad_dates", "daily", (
        backfill(3, 1),
        Call("POST", "/backfills", {
            "dag_id": "{dag}", "from_date": "2126-01-01T00:00:00Z", "to_date": "2126-01-02T00:00:00Z",
        }),
        Call("POST", "/backfills", {
            "dag_id": "{dag}", "from_date": "2026-01-01T06:00:00Z", "to_date": "2026-01-01T12:00:00Z",
        }),
    )),
    Operation("backfill_depending_on_past", "daily_past", (
        backfill(), backfill(reprocess_behavior="failed", run_backwards=True), backfill(reprocess_behavior="failed"),
        Ended(), BackfillDone(),
    )),
    Operation("backfill_conf", "daily", (backfill(1, 1, dag_run_conf={"name": "given"}), Ended(), BackfillDone())),
    Operation("backfill_after_edit", "daily", (
        Trigger("one"), Ended(), Edit("daily_added"), backfill(1, 2, reprocess_behavior="completed"), Ended(),
        BackfillDone(),
    )),
    Operation("backfill_after_edit_staying", "daily", (
        Trigger("one"), Ended(), Edit("daily_added"),
        backfill(1, 2, reprocess_behavior="completed", run_on_latest_version=False), Ended(), BackfillDone(),
    )),
    Operation("backfill_of_paused_dag", "daily", (
        paused(True), backfill(1, 1), Settle(), Look("paused"), paused(False), Ended(), BackfillDone(),
    )),
    Operation("backfill_run_cleared", "daily", (
        backfill(1, 1), Ended(), BackfillDone(), clear_run("backfill__2026-01-01T00:00:00+00:00"), Settle(),
    )),
]  # fmt: skip



def trigger(partition_key: str | None, run_id: str = "one") -> Call:
    """A run by hand of a partition."""
    body = {"dag_run_id": run_id, "logical_date": None, "partition_key": partition_key}
    return Call("POST", f"{DAG}/dagRuns", body)


SECOND = trigger("2026-01-02", "two")
PARTITIONS = [
    Operation("partition_backfill", "partitioned", (backfill(), Ended(), BackfillDone())),
    Operation("partition_backfill_dry_run", "partitioned", (
        SECOND, Ended(), *(backfill(path="/backfills/dry_run", reprocess_behavior=what) for what in REPROCESS),
    )),
    Operation("partition_backfill_existing", "partitioned", (SECOND, Ended(), backfill(), Ended(), BackfillDone())),
    Operation("partition_backfill_failed", "partitioned", (
        tell("fail", "a"), SECOND, Ended(), untell("fail", "a"), backfill(reprocess_behavior="failed"), Ended(),
        BackfillDone(), backfill(reprocess_behavior="failed"), Ended(), BackfillDone(),
    )),
    Operation("partition_backfill_completed", "partitioned", (
        SECOND, Ended(), backfill(reprocess_behavior="completed", dag_run_conf={"again": True}), Ended(), BackfillDone(),
    )),
    Operation("partition_backfill_in_flight", "partitioned", (
        tell("hold", "a"), SECOND, Traced("a", run_id="two"), backfill(reprocess_behavior="completed"),
        untell("hold", "a"), Ended(), BackfillDone(),
    )),
    Operation("partition_backfill_backwards", "partitioned", (
        backfill(run_backwards=True, max_active_runs=1), Ended(), BackfillDone(), StartOrder(),
    )),
    Operation("partition_backfill_offsets", "partitioned", (
        *(Call("POST", path, {
            "dag_id": "{dag}", "from_date": "2026-01-02T00:00:00+09:00", "to_date": "2026-01-02T23:00:00-08:00",
        }) for path in ("/backfills/dry_run", "/backfills")),
        Ended(), BackfillDone(),
    )),
    Operation("partition_backfill_refused", "partitioned", (
        backfill(3, 1),
        *(Call("POST", path, {
            "dag_id": "{dag}", "from_date": "2026-01-02T06:00:00+09:00", "to_date": "2026-01-02T23:00:00+09:00",
        }) for path in ("/backfills/dry_run", "/backfills")),
    )),
    Operation("partition_backfill_of_plugin", "partitioned_by_plugin", (
        trigger("2026-01-02-am"), Ended(), backfill(path="/backfills/dry_run"), backfill(), Ended(), BackfillDone(),
    )),
    Operation("partition_trigger", "partitioned", (
        trigger("2026-01-02"), trigger("2026-13-02", "two"), trigger(" ", "two"), trigger("x" * 251, "two"),
        trigger(None, "three"), Ended(),
    )),
    Operation("partition_trigger_of_assets", "partitioned_asset", (
        trigger("2026-01-02"), trigger("2026-13-02", "two"), trigger(None, "three"), backfill(), Ended(),
    )),
    Operation("partition_trigger_of_plugin", "partitioned_by_plugin", (
        trigger("2026-01-02-pm"), trigger("May-am", "two"), trigger(" ", "two"), Ended(),
    )),
    Operation("partition_trigger_at_runtime", "partitioned_at_runtime", (trigger("2026-01-02"), Ended())),
    Operation("partition_trigger_refused", "chain", (trigger("2026-01-02"),)),
]  # fmt: skip

EDIT = [
    Operation("edit_adds_task", "chain", (*B_RUNS, Edit("chain_added"), Until("d", "none"), GO_ON)),
    Operation("edit_adds_first_task", "chain", (*B_RUNS, Edit("chain_first"), Until("first"), GO_ON)),
    Operation("edit_removes_waiting_task", "chain", (*B_RUNS, Edit("chain_without_c"), Settle(), GO_ON)),
    Operation("edit_removes_running_task", "chain", (
        *B_RUNS, Edit("chain_without_b"), Settle(), Look("removed"), GO_ON,
    )),
    Operation("edit_removes_ended_task", "chain", (*held("c"), Edit("chain_without_b"), Settle(), untell("hold", "c"))),
    Operation("edit_removes_and_restores", "chain", (
        *B_RUNS, Edit("chain_without_c"), Settle(), Look("removed"), Edit("chain"), Settle(), GO_ON,
    )),
    Operation("edit_renames_task", "chain", (*B_RUNS, Edit("chain_renamed"), Until("e", "none"), GO_ON)),
    Operation("edit_changes_retries", "chain", (*B_RUNS, tell("fail", "c"), Edit("chain_retries"), Settle(), GO_ON)),
    Operation("edit_changes_retries_of_running", "chain", (
        *B_RUNS, tell("fail", "b"), Edit("chain_retries"), Settle(), GO_ON,
    )),
    Operation("edit_rewires", "chain", (*held("a"), Edit("chain_rewired"), Settle(), untell("hold", "a"))),
    Operation("edit_breaks_file", "chain", (
        *B_RUNS, Edit("chain_broken"), GO_ON, Settle(), Look("broken"), Edit("chain"), Settle(),
    ), ends=False),
    Operation("edit_nothing", "chain", (*B_RUNS, Edit("chain"), GO_ON)),
    Operation("edit_between_runs", "chain", (*ENDED, Edit("chain_added"), Trigger("two"), Ended())),
    Operation("edit_before_first_run", "chain", (Edit("chain_added"), Trigger(), Ended())),
    Operation("file_removed", "chain", (*B_RUNS, Remove(), GO_ON, Settle()), ends=False),
    Operation("file_removed_and_restored", "chain", (
        *B_RUNS, Remove(), GO_ON, Until("b"), Settle(), Look("removed"), Edit("chain"),
    )),
    Operation("file_removed_then_changed", "chain", (
        *B_RUNS, Remove(), Settle(), Edit("chain_added"), Settle(), GO_ON,
    )),
    Operation("edit_then_clear", "chain", (*ENDED, Edit("chain_added"), clear("b", run_on_latest_version=False))),
    Operation("edit_then_clear_latest", "chain", (*ENDED, Edit("chain_added"), clear("b", run_on_latest_version=True))),
    Operation("edit_then_clear_run", "chain", (*ENDED, Edit("chain_added"), clear_run(run_on_latest_version=False))),
    Operation("edit_then_clear_run_latest", "chain", (
        *ENDED, Edit("chain_added"), clear_run(run_on_latest_version=True),
    )),
    Operation("edit_then_clear_run_default", "chain", (*ENDED, Edit("chain_latest"), clear_run())),
    Operation("edit_removes_then_clear_latest", "chain", (
        *ENDED, Edit("chain_without_c"), clear_run(run_on_latest_version=True),
    )),
    Operation("edit_removes_then_clear", "chain", (*ENDED, Edit("chain_without_c"), clear("c"), Ended(), clear("b"))),
    Operation("edit_then_clear_retries", "chain", (
        *ENDED, tell("fail", "b"), Edit("chain_retries"), clear("b", run_on_latest_version=False),
    )),
    Operation("edit_then_clear_keeping_run", "chain", (
        *ENDED, Edit("chain_added"), clear("b", run_on_latest_version=True, reset_dag_runs=False), Settle(),
    )),
    Operation("edit_then_clear_running_latest", "chain", (
        *B_RUNS, Edit("chain_added"), Settle(), clear("b", run_on_latest_version=True), Traced("b", "killed"), GO_ON,
    )),
    Operation("only_new", "chain", (
        *ENDED, Edit("chain_added"), clear_run(only_new=True, dry_run=True), clear_run(only_new=True),
    )),
    Operation("only_new_of_nothing", "chain", (*ENDED, clear_run(only_new=True), Settle())),
    Operation("only_new_while_running", "chain", (
        *B_RUNS, Edit("chain_added"), Until("d", "none"), clear_run(only_new=True), GO_ON,
    )),
    Operation("only_new_and_removed", "chain", (*ENDED, Edit("chain_renamed"), clear_run(only_new=True))),
    Operation("edit_then_mark", "chain", (
        *ENDED, Edit("chain_without_c"), mark("c", "failed"), mark("b", "failed"), Settle(),
    )),
    Operation("edit_then_mark_run", "chain", (
        *B_RUNS, Edit("chain_without_c"), Settle(), mark_run("failed"), Settle(), GO_ON,
    )),
    Operation("edit_maps_fewer", "mapped_literal", (
        *held("before"), Edit("mapped_literal_shorter"), Settle(), untell("hold", "before"),
    )),
    Operation("edit_maps_more", "mapped_literal", (
        *held("before"), Edit("mapped_literal_longer"), Settle(), untell("hold", "before"),
    )),
    Operation("edit_unmaps", "mapped_literal", (
        *held("before"), Edit("mapped_not"), Settle(), untell("hold", "before"),
    )),
    Operation("edit_maps", "mapped_not", (*held("before"), Edit("mapped_literal"), Settle(), untell("hold", "before"))),
    Operation("edit_maps_fewer_then_clear_latest", "mapped_literal", (
        *ENDED, Edit("mapped_literal_shorter"), clear_run(run_on_latest_version=True),
    )),
    Operation("edit_maps_more_then_clear_latest", "mapped_literal", (
        *ENDED, Edit("mapped_literal_longer"), clear_run(run_on_latest_version=True),
    )),
    Operation("edit_after_mapped", "mapped", (
        tell("hold", "after"), Trigger(), Traced("after"), Edit("mapped_added"), Settle(), untell("hold", "after"),
    )),
    Operation("edit_while_mapped_runs", "mapped", (
        tell("hold", "write[1]"), Trigger(), Until("write", map_index=2), Traced("write", map_index=1),
        Edit("mapped_added"), Settle(), untell("hold", "write[1]"),
    )),
    Operation("edit_after_mapped_then_clear_latest", "mapped", (
        *ENDED, Edit("mapped_added"), clear(("write", 1), run_on_latest_version=True),
    )),
    Operation("edit_unversioned", "chain_unversioned", (
        *ENDED, Edit("chain_added"), clear("b", run_on_latest_version=True),
    )),
    Operation("restore_in_ended_run", "chain", (
        *ENDED, Edit("chain_without_c"), clear("b", run_on_latest_version=True), Ended(), Edit("chain"),
        clear("b", run_on_latest_version=True),
    )),
]  # fmt: skip

OPERATIONS = CLEAR + MARK + PAST + DELETE + PAUSE + BACKFILL + PARTITIONS + EDIT
