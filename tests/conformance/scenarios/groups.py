from scenario import Scenario

PLAIN = (
    "groups_nested", "groups_failing", "teardown_after_work_succeeds", "teardown_after_work_fails",
    "teardown_after_work_is_skipped", "teardown_after_setup_fails", "teardown_after_setup_is_skipped", "teardown_fails",
    "teardown_fails_dagrun", "teardown_of_two_setups", "teardown_in_group", "teardown_only",
)  # fmt: skip

SCENARIOS = [*(Scenario(dag_id) for dag_id in PLAIN), Scenario("fail_fast", settle_seconds=5)]
