from scenario import Scenario

PLAIN = (
    "branch_nested", "branch_joins", "branch_into_groups", "branch_out_of_group", "branch_to_mapped",
    "branch_within_mapped_group", "branch_to_itself_and_beyond", "branch_by_date", "short_circuit_ignores_rules_below",
    "short_circuit_respects_rules_below", "short_circuit_within_mapped_group", "short_circuit_chain",
    "groups_pass_on_a_skip", "groups_pass_on_a_failure",
)  # fmt: skip

SCENARIOS = [*(Scenario(dag_id) for dag_id in PLAIN), Scenario("latest_only_in_group", scheduled=True)]
