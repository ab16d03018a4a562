from scenario import TWO_DAYS, Scenario, Trigger

BESIDE = (("pool", "others"), ("wide", "narrow"), ("task", "others"))
THREE_DAYS = (*TWO_DAYS, Trigger("third", "2026-01-03T00:00:00Z"))

SCENARIOS = [
    *(Scenario(f"weight_rule_{rule}") for rule in ("downstream", "upstream", "absolute", "custom")),
    Scenario("order_priority_weight", ordered=True, limited=True),
    *(Scenario(dag_id, limited=True) for dag_id in ("limit_max_active_tasks", "limit_pool")),
    *(Scenario(f"order_by_{rule}", ordered=True, limited=True) for rule in ("downstream", "upstream", "absolute")),
    Scenario("order_of_map_indexes", ordered=True, limited=True),
    *(Scenario(f"limit_{what}_beside_{others}", limited=True) for what, others in BESIDE),
    Scenario("limit_task_within_run", limited=True),
    *(
        Scenario(f"limit_{what}_{limit}", runs=TWO_DAYS, sequential=False, limited=True)
        for what in ("tis_per_dagrun", "tis_per_dag", "both_tis", "tasks_of_runs")
        for limit in (1, 2)
    ),
    Scenario("limit_two_active_runs", runs=THREE_DAYS, sequential=False, limited=True),
    Scenario("limit_never_met", runs=(Trigger(ends=False),)),
    Scenario("limit_queues"),
    Scenario("limit_task_in_dag", runs=TWO_DAYS, sequential=False, limited=True),
    Scenario("limit_parallelism", runs=TWO_DAYS, sequential=False, limited=True, parallelism=2),
    Scenario("limit_max_active_runs", runs=TWO_DAYS, sequential=False, limited=True),
]
