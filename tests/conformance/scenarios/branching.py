from scenario import Scenario

PLAIN = (
    "branch_and_join", "branch_to_several", "branch_to_none", "branch_to_unknown", "branch_to_group",
    "branch_skips_shared_child", "short_circuit_ignoring", "short_circuit_respecting", "latest_only_manual",
    "skip_and_run_if",
)  # fmt: skip

SCENARIOS = [*(Scenario(dag_id) for dag_id in PLAIN), Scenario("latest_only_scheduled", scheduled=True)]
