import itertools

from scenario import Scenario

OUTCOMES = ("success", "skipped", "failed")
PLAIN = (
    "teardown_failure_does_not_count", "setups_nested_work_skipped", "setups_nested_work_failed",
    "setups_nested_inner_setup_skipped", "setups_nested_inner_setup_failed", "setup_without_teardown",
    "teardown_without_setup", "teardown_as_context", "setups_in_groups", "setups_around_groups", "setups_around_mapped",
    "setups_mapped", "setups_in_mapped_group", "setups_and_short_circuits", "setups_and_branches",
    "fail_fast_after_skipped", "fail_fast_after_failed",
)  # fmt: skip

SCENARIOS = [
    *(
        Scenario(f"setup_{made}_work_{worked}_teardown_{dropped}")
        for made, worked, dropped in itertools.product(OUTCOMES, repeat=3)
        if made == "success" or worked == "success"
    ),
    *(
        Scenario(f"setups_parallel_{first}_and_{second}")
        for first, second in itertools.combinations_with_replacement(OUTCOMES, 2)
        if (first, second) != ("skipped", "failed")  # whichever ends first decides
    ),
    *(Scenario(dag_id) for dag_id in PLAIN),
]
