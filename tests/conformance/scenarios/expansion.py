from scenario import Scenario

NAMES = (
    "over_list", "over_dict", "over_nested_list", "over_list_of_dicts", "over_empty_list", "over_empty_dict",
    "over_none", "over_number", "over_text", "over_boolean", "over_too_many", "over_kwargs", "over_products",
    "over_functions", "over_mapped", "over_partly_skipped", "over_values_of_none", "over_skipped", "over_failed",
    "over_upstream_failed", "with_other_upstream", "classic_operators", "with_names", "with_retries", "and_pull",
    "groups", "groups_over_kwargs", "groups_in_groups", "groups_with_ends", "groups_with_retries", "groups_and_others",
)  # fmt: skip

SCENARIOS = [Scenario(f"expand_{name}") for name in NAMES]
