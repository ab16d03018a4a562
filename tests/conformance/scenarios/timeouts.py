from scenario import Scenario

# Callbacks run in the Dag processor, deadlines are looked at by the scheduler, both a while after the run.
SCENARIOS = [
    Scenario("callback_after_silent_exit", settle_seconds=15),
    Scenario("trigger_times_out"),
    Scenario("question_times_out"),
    Scenario("deadline_met", settle_seconds=10),
    Scenario("deadline_of_failed_run", settle_seconds=10),
    Scenario("deadlines_missed", settle_seconds=10),
]
