"""The example Dags that Airflow and its standard provider bring."""

from scenario import EXAMPLES, STANDARD, Choice, Scenario

BRANCHES = "abcd"


def branches(*prefixes: str) -> tuple[str, ...]:
    return tuple(f"{prefix}_{branch}" for prefix in prefixes for branch in BRANCHES)


SCENARIOS = [
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
