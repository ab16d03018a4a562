from scenario import Scenario
from scenarios.trigger_rules import RULES

MIXTURES = (
    "all_succeed", "all_skip", "all_fail", "skip_then_success", "success_then_skip", "fail_then_success",
    "success_then_fail", "fail_then_skip", "skip_then_fail", "of_zero_length",
)  # fmt: skip

SCENARIOS = [
    *(Scenario(f"trigger_rule_after_mapped_{name}") for name in MIXTURES),
    *(Scenario(f"trigger_rule_on_mapped_{rule}") for rule in RULES),
    Scenario("trigger_rule_after_groups"),
    *(Scenario(f"trigger_rule_in_mapped_group_{name}") for name in MIXTURES),
]
