from scenario import Scenario

ENDS = (
    "exception", "own_exception", "fail_exception", "skip_exception", "sensor_timeout", "task_timeout",
    "keyboard_interrupt", "base_exception", "polite_exit_0", "polite_exit_1", "exit_3", "killed", "terminated",
    "times_out",
)  # fmt: skip
PLAIN = ("retry_policies", "retry_delays", "sensors_and_failures", "bash_ends", "fail_fast_skips", "fail_fast_mapped")

SCENARIOS = [
    *(Scenario(f"ends_by_{name}") for name in ENDS),
    *(Scenario(dag_id) for dag_id in PLAIN),
    Scenario("fail_fast_waits_for_retries", settle_seconds=5),
    *(Scenario(f"dagrun_timeout_{name}", settle_seconds=10) for name in ("waiting", "retrying")),
]
