from scenario import Scenario

RULES = (
    "all_success", "all_failed", "all_done", "all_done_min_one_success", "one_success", "one_failed", "one_done",
    "none_failed", "none_failed_min_one_success", "none_skipped", "all_skipped", "always",
)  # fmt: skip

SCENARIOS = [
    Scenario(f"trigger_rule_{rule}_{order}") for rule in RULES for order in ("success_first", "failed_first")
]
