from scenario import Scenario, Trigger

WAITS = (Trigger(ends=False),)

SCENARIOS = [
    Scenario("start_with_trigger", runs=WAITS),
    Scenario("start_with_trigger_in_time"),
    *(
        Scenario(f"limit_{what}", runs=WAITS)
        for what in ("pool_counts_deferred", "pool_leaves_deferred_out", "tasks_deferred", "tis_deferred")
    ),
]
