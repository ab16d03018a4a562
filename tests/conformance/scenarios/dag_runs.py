from scenario import FIRST_DAY, TWO_DAYS, Scenario, Trigger

PLAIN = ("empty_operators_only", "no_tasks", "sensors", "deferred", "asset_producer", "xcom_values")

SCENARIOS = [
    *(Scenario(dag_id) for dag_id in PLAIN),
    Scenario("dagrun_timeout", settle_seconds=10),
    Scenario(
        "depends_on_past",
        runs=(
            Trigger("first", FIRST_DAY, {"fail": True}),
            Trigger("second", "2026-01-02T00:00:00Z", ends=False),
        ),
    ),
    Scenario("depends_on_past_success", runs=TWO_DAYS),
    Scenario("without_logical_date", runs=(Trigger(logical_date=None),)),
    Scenario(
        "conf_and_params",
        runs=(
            Trigger("defaults", FIRST_DAY),
            Trigger("with_conf", "2026-01-02T00:00:00Z", {"name": "given", "count": 5, "extra": [1, {"a": None}]}),
        ),
    ),
    Scenario("asset_chain_producer", consumers=("asset_consumer",)),
    Scenario("triggers_another", consumers=("triggered",)),
]
