"""Branches and trigger rules: which tasks run, which are skipped, and what runs whatever happens."""

import pendulum
from airflow.sdk import Label, TriggerRule, dag, task, task_group


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    params={"error_rate": 0.2},
    tags=["example", "branching"],
    doc_md="""
    ### Release gate
    Measures a canary and decides by its error rate, in per cent, whether to roll out, to wait or to roll back. Trigger
    it with another `error_rate` to see another branch: below 0.5 rolls out, below 2 waits.

    * `announce` joins the branches: it runs when none failed and at least one was not skipped.
    * `remove_canary` cleans up whatever happened before it.
    """,
)
def release_gate():
    @task
    def measure(params: dict | None = None) -> float:
        return float(params["error_rate"])

    @task.branch
    def decide(error_rate: float) -> str:
        if error_rate < 0.5:
            return "roll_out.north"
        return "wait" if error_rate < 2 else "roll_back"

    @task_group
    def roll_out():
        @task
        def north() -> None:
            print("The north runs the new version")

        @task
        def south() -> None:
            print("The south runs the new version")

        north() >> south()

    @task
    def wait() -> None:
        print("Not sure yet: the canary goes on for another day")

    @task
    def roll_back() -> None:
        print("Back to the version before")

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def announce() -> None:
        print("The decision is carried out")

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def remove_canary() -> None:
        print("The canary is gone")

    decision = decide(measure())
    branches = [roll_out(), wait(), roll_back()]
    for label, branch in zip(["healthy", "unclear", "failing"], branches, strict=True):
        decision >> Label(label) >> branch
    branches >> announce() >> remove_canary()


release_gate()
