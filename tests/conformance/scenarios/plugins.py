from scenario import Scenario, Trigger

SCHEDULES = ("custom", "custom_without_catchup", "custom_fails")

SCENARIOS = [
    *(Scenario(f"schedule_{name}", scheduled=True) for name in SCHEDULES),
    Scenario("custom_timetable_manual", runs=(Trigger("shift", "2026-01-01T15:30:00Z"), Trigger("none", None))),
    Scenario("custom_timetable_never"),
    Scenario("custom_weight_mapped"),
    Scenario("custom_weight_retries"),
    Scenario("order_custom_weight", ordered=True, limited=True),
]
