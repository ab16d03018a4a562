"""The example Dags that Airflow and its standard provider bring."""

from scenario import EXAMPLES, STANDARD, Choice, Scenario

BRANCHES = "abcd"


def branches(*prefixes: str) -> tuple[str, ...]:
    return tuple(f"{prefix}_{branch}" for prefix in prefixes for branch in BRANCHES)


# Left out: what needs the network, a person, parameters or a time of day, and Dags that only assets start.
STATES_ONLY = {
    EXAMPLES: (
        "example_branch_labels", "example_complex", "example_custom_weight", "example_display_name",
        "example_dynamic_task_mapping_with_no_taskflow_operators", "example_failed_dag", "latest_only_with_trigger",
        "example_nested_branch_dag", "example_params_trigger_ui", "example_passing_params_via_test_command",
        "example_setup_teardown", "example_simplest_dag", "example_skip_dag", "example_task_group_decorator",
        "example_task_state_store", "example_task_state_store_async",
        "example_task_state_store_mapped", "example_trigger_target_dag", "example_xcom_args",
        "example_xcom_args_with_operators", "tutorial", "tutorial_dag", "tutorial_taskflow_templates",
        "asset_produces_1", "asset_produces_2", "asset_with_extra_by_context", "asset_with_extra_by_yield",
        "asset_with_extra_from_classic_operator", "asset_s3_bucket_producer", "asset_alias_example_alias_producer",
        "asset_s3_bucket_producer_with_no_taskflow", "asset_alias_example_alias_producer_with_no_taskflow",
    ),
    STANDARD: (
        "example_bash_decorator", "example_branch_datetime_operator", "example_branch_datetime_operator_3",
        "example_external_task_marker_parent", "latest_only", "example_measurement_correction_decorator",
        "example_measurement_correction_operator", "example_sensor_decorator", "example_short_circuit_operator",
        "example_trigger_controller_dag",
    ),
}  # fmt: skip

SCENARIOS = [
    *(Scenario(dag_id, bundle, states_only=True) for bundle, dag_ids in STATES_ONLY.items() for dag_id in dag_ids),
    Scenario("tutorial_taskflow_api", EXAMPLES),
    Scenario("example_bash_operator", STANDARD),
    Scenario("example_dynamic_task_mapping", EXAMPLES),
    Scenario("example_task_mapping_second_order", EXAMPLES),
    Scenario("example_task_group_mapping", EXAMPLES),
    Scenario("example_task_group", EXAMPLES),
    Scenario("example_setup_teardown_taskflow", EXAMPLES),
    Scenario("example_xcom", EXAMPLES),
    Scenario("example_short_circuit_decorator", STANDARD),
    Scenario(
        "example_branch_operator",
        STANDARD,
        choices=(
            Choice("branching", branches("branch"), branches("branch", "follow")),
            Choice("branching_ext_python", branches("ext_py"), branches("ext_py")),
            Choice("branching_venv", branches("venv"), branches("venv")),
        ),
        timeout_seconds=600,
    ),
]
