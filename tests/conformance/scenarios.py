"""Which Dags are run, how they are triggered, and what of the outcome is fixed."""

from __future__ import annotations

from dataclasses import dataclass

EXAMPLES, STANDARD, CONFORMANCE = "examples", "standard_examples", "conformance"
FIRST_DAY = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Trigger:
    """One `POST /api/v2/dags/{dag_id}/dagRuns`."""

    run_id: str = "conformance"
    logical_date: str | None = FIRST_DAY
    conf: dict | None = None
    ends: bool = True
    """Whether the run comes to an end; if not, it is recorded when nothing has changed for a while."""

    def body(self) -> dict:
        body = {"dag_run_id": self.run_id, "logical_date": self.logical_date}
        return body if self.conf is None else body | {"conf": self.conf}


@dataclass(frozen=True)
class Choice:
    """Tasks whose facts depend on what one branching task returned."""

    task_id: str
    returns: tuple[str, ...]
    decides: tuple[str, ...]


@dataclass(frozen=True)
class Scenario:
    dag_id: str
    bundle: str = CONFORMANCE
    runs: tuple[Trigger, ...] = (Trigger(),)
    sequential: bool = True
    """Whether a run is triggered only when the one before has ended."""
    ordered: bool = False
    """Whether the order in which tasks started is part of the recording: where it is decided, not left to chance."""
    limited: bool = False
    """Whether the most tasks that ran at once is part of the recording."""
    scheduled: bool = False
    """Nothing is triggered: the runs are those that the scheduler creates from the schedule."""
    consumers: tuple[str, ...] = ()
    """Dags of which the scenario's run makes one run each, by an asset event or by triggering it."""
    choices: tuple[Choice, ...] = ()
    """The Dag branches at random: it is run until each choice was seen."""
    settle_seconds: float = 0
    timeout_seconds: float = 240


BRANCHES = "abcd"
EXAMPLE_SCENARIOS = [
    Scenario("tutorial_taskflow_api", EXAMPLES),
    Scenario("example_bash_operator", STANDARD),
    Scenario("example_dynamic_task_mapping", EXAMPLES),
    Scenario("example_task_mapping_second_order", EXAMPLES),
    Scenario("example_task_group_mapping", EXAMPLES),
    Scenario("example_task_group", EXAMPLES),
    Scenario("example_setup_teardown_taskflow", EXAMPLES),
    Scenario("example_xcom", EXAMPLES),
    Scenario("example_short_circuit_decorator", STANDARD),
    Scenario(
        "example_branch_operator",
        STANDARD,
        choices=(
            Choice(
                "branching",
                tuple(f"branch_{b}" for b in BRANCHES),
                tuple(f"{p}_{b}" for p in ("branch", "follow") for b in BRANCHES),
            ),
            Choice(
                "branching_ext_python", tuple(f"ext_py_{b}" for b in BRANCHES), tuple(f"ext_py_{b}" for b in BRANCHES)
            ),
            Choice("branching_venv", tuple(f"venv_{b}" for b in BRANCHES), tuple(f"venv_{b}" for b in BRANCHES)),
        ),
        timeout_seconds=600,
    ),
]

TWO_DAYS = (Trigger("first", FIRST_DAY), Trigger("second", "2026-01-02T00:00:00Z"))
FAILS_THEN_NOT = (
    Trigger("first", FIRST_DAY, {"fail": True}),
    Trigger("second", "2026-01-02T00:00:00Z", ends=False),
)
RULES = (
    "all_success", "all_failed", "all_done", "all_done_min_one_success", "one_success", "one_failed", "one_done",
    "none_failed", "none_failed_min_one_success", "none_skipped", "all_skipped", "always",
)  # fmt: skip
PLAIN = (
    # attempts.py
    "retry_then_success", "retries_exhausted", "retry_with_backoff", "exceptions", "process_ends", "execution_timeout",
    # branching.py
    "branch_and_join", "branch_to_several", "branch_to_none", "branch_to_unknown", "branch_to_group",
    "branch_skips_shared_child", "short_circuit_ignoring", "short_circuit_respecting", "latest_only_manual",
    "skip_and_run_if",
    # mapping.py
    "mapped_literal", "mapped_over_xcom", "mapped_zero_length", "mapped_expand_kwargs", "mapped_zip_map_concat",
    "mapped_index_fails", "mapped_index_skips", "mapped_upstream_fails", "mapped_not_a_list", "mapped_group",
    "mapped_group_reduces", "mapped_group_zero_length", "mapped_names", "mapped_empty_operator", "mapped_branch",
    "mapped_pulls",
    # limits.py
    "weight_rule_downstream", "weight_rule_upstream", "weight_rule_absolute", "weight_rule_custom",
    # groups.py
    "groups_nested", "groups_failing", "teardown_after_work_succeeds", "teardown_after_work_fails",
    "teardown_after_work_is_skipped", "teardown_after_setup_fails", "teardown_after_setup_is_skipped", "teardown_fails",
    "teardown_fails_dagrun", "teardown_of_two_setups", "teardown_in_group", "teardown_only",
    # dag_runs.py
    "empty_operators_only", "no_tasks", "sensors", "deferred", "asset_producer", "xcom_values",
)  # fmt: skip
ORDERED = ("mapped_limited", "order_priority_weight")
LIMITED = ("limit_max_active_tasks", "limit_pool")
CALLBACKS = ("callbacks_failure", "callbacks_success", "callback_after_kill")
SCHEDULED = (
    "daily", "cron", "timedelta", "once", "spring_daily", "autumn_hourly", "cron_data_interval", "cron_trigger",
    "cron_trigger_interval", "delta_data_interval", "delta_trigger", "multiple_cron_trigger", "events",
)  # fmt: skip

CONFORMANCE_SCENARIOS = [
    *(Scenario(f"trigger_rule_{rule}_{order}") for rule in RULES for order in ("success_first", "failed_first")),
    *(Scenario(dag_id) for dag_id in PLAIN),
    *(Scenario(dag_id, ordered=True, limited=True) for dag_id in ORDERED),
    *(Scenario(dag_id, limited=True) for dag_id in LIMITED),
    *(Scenario(dag_id, settle_seconds=15) for dag_id in CALLBACKS),
    *(Scenario(f"schedule_{name}", scheduled=True) for name in SCHEDULED),
    Scenario("latest_only_scheduled", scheduled=True),
    Scenario("fail_fast", settle_seconds=5),
    Scenario("dagrun_timeout", settle_seconds=10),
    Scenario("depends_on_past", runs=FAILS_THEN_NOT),
    Scenario("depends_on_past_success", runs=TWO_DAYS),
    Scenario("limit_task_in_dag", runs=TWO_DAYS, sequential=False, limited=True),
    Scenario("limit_max_active_runs", runs=TWO_DAYS, sequential=False, limited=True),
    Scenario("without_logical_date", runs=(Trigger(logical_date=None),)),
    Scenario(
        "conf_and_params",
        runs=(
            Trigger("defaults", FIRST_DAY),
            Trigger("with_conf", "2026-01-02T00:00:00Z", {"name": "given", "count": 5, "extra": [1, {"a": None}]}),
        ),
    ),
    Scenario("asset_chain_producer", consumers=("asset_consumer",)),
    Scenario("triggers_another", consumers=("triggered",)),
]

SCENARIOS = EXAMPLE_SCENARIOS + CONFORMANCE_SCENARIOS
