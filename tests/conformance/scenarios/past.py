from scenario import FIRST_DAY, Scenario, Trigger

STUCK = (Trigger("first", FIRST_DAY), Trigger("second", "2026-01-02T00:00:00Z", ends=False))
THREE_DAYS = (*STUCK[:1], Trigger("second", "2026-01-02T00:00:00Z"), Trigger("third", "2026-01-03T00:00:00Z"))
# The second run lies before the first, so that nothing is past for it.
BACKWARDS = (Trigger("first", "2026-01-02T00:00:00Z"), Trigger("second", FIRST_DAY))

SCENARIOS = [
    Scenario("past_outcomes_without_catchup", runs=STUCK),
    Scenario("past_outcomes_with_catchup", runs=THREE_DAYS),
    Scenario("past_downstream", runs=STUCK),
    Scenario("past_ignores_first", runs=STUCK),
    Scenario("past_mapped", runs=STUCK),
    Scenario("past_task_start_dates", runs=BACKWARDS),
    Scenario("past_scheduled", scheduled=True),
]
