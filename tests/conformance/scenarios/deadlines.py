from scenario import Scenario

# Callbacks are called a while after the run, by an executor or by the Dag processor.
SCENARIOS = [
    Scenario("deadline_calls_function", settle_seconds=15),
    Scenario("deadline_calls_notifier", settle_seconds=15),
    Scenario("deadline_callback_reads_variable", settle_seconds=15),
    Scenario("deadline_callback_fails", settle_seconds=15),
    Scenario("deadline_callback_is_missing", settle_seconds=15),
    Scenario("deadline_by_variable", settle_seconds=15),
    Scenario("deadline_by_plugin", settle_seconds=15),
]
