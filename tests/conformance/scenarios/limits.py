from scenario import TWO_DAYS, Scenario

SCENARIOS = [
    *(Scenario(f"weight_rule_{rule}") for rule in ("downstream", "upstream", "absolute", "custom")),
    Scenario("order_priority_weight", ordered=True, limited=True),
    *(Scenario(dag_id, limited=True) for dag_id in ("limit_max_active_tasks", "limit_pool")),
    Scenario("limit_task_in_dag", runs=TWO_DAYS, sequential=False, limited=True),
    Scenario("limit_max_active_runs", runs=TWO_DAYS, sequential=False, limited=True),
]
