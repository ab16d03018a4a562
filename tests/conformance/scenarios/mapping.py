from scenario import Scenario

PLAIN = (
    "mapped_literal", "mapped_over_xcom", "mapped_zero_length", "mapped_expand_kwargs", "mapped_zip_map_concat",
    "mapped_index_fails", "mapped_index_skips", "mapped_upstream_fails", "mapped_not_a_list", "mapped_group",
    "mapped_group_reduces", "mapped_group_zero_length", "mapped_names", "mapped_empty_operator", "mapped_branch",
    "mapped_pulls",
)  # fmt: skip

SCENARIOS = [*(Scenario(dag_id) for dag_id in PLAIN), Scenario("mapped_limited", ordered=True, limited=True)]
