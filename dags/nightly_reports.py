"""A cron schedule in a time zone of its own, and a pool whose slots go to the most important tasks first."""

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import CronDataIntervalTimetable, dag, task

# The reports, with their priority and the number of slots each takes of its pool.
REPORTS = {
    "finance": {"priority_weight": 10, "pool_slots": 2},
    "stock": {"priority_weight": 5, "pool_slots": 1},
    "web": {"priority_weight": 1, "pool_slots": 1},
}


@dag(
    schedule=CronDataIntervalTimetable("30 2 * * MON-FRI", timezone="Europe/Brussels"),
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Brussels"),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    tags=["example", "schedule", "pool"],
    doc_md="""
    ### Nightly reports
    Runs at half past two on every working day, Brussels time, summer and winter. Each run covers the time since the run
    before it; the commands take the date from their templates.

    All reports share `default_pool`, which exists in every installation. When its slots run short, the report with the
    highest `priority_weight` goes first; `finance` takes two slots, because it is the heavy one.
    """,
)
def nightly_reports():
    @task
    def archive(names: list[str], data_interval_start=None, data_interval_end=None) -> None:
        print(f"Archived {', '.join(names)} for {data_interval_start} to {data_interval_end}")

    reports = [
        BashOperator(
            task_id=name,
            bash_command="echo 'The {{ task.task_id }} report of {{ dag_run.run_after | ds }}'; sleep 1",
            pool="default_pool",
            weight_rule="absolute",
            **limits,
        )
        for name, limits in REPORTS.items()
    ]
    reports >> archive(list(REPORTS))


nightly_reports()
