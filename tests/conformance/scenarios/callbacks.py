from scenario import Scenario

NAMES = (
    "when_task_succeeds", "when_task_fails", "when_task_fails_after_retry", "when_task_fails_for_good",
    "when_task_recovers", "when_task_is_skipped", "when_task_times_out", "of_mapped", "in_lists", "by_notifiers",
    "by_default", "of_empty_operators", "of_broken_dag_callback", "of_failure_within", "of_dagrun_timeout",
    "of_fail_fast", "of_teardown", "that_fail",
)  # fmt: skip

SCENARIOS = [Scenario(f"callbacks_{name}", settle_seconds=15) for name in NAMES]
