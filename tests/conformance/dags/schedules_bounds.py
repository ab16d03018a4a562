"""What bounds the runs that the scheduler makes: dates of Dags and tasks, `catchup`, `max_active_runs`, presets."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from dateutil.relativedelta import relativedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, CronDataIntervalTimetable, CronTriggerTimetable, DeltaTriggerTimetable, task


def utc(*date: int) -> pendulum.DateTime:
    return pendulum.datetime(*date, tz="UTC")


def span(start: tuple[int, ...], end: tuple[int, ...], **arguments) -> dict:
    return {"start_date": utc(*start), "end_date": utc(*end), "catchup": True, **arguments}


DAYS = {"start_date": utc(2026, 1, 1), "end_date": utc(2026, 1, 3)}
SINCE = {"start_date": utc(2026, 1, 1)}
CATCH_UP, DO_NOT = {"catchup": True}, {"catchup": False}

# Name: schedule and arguments of the Dag.
TABLE = {
    # Dates that lie on a boundary of an interval, within one, or the wrong way round.
    "starts_within_interval": ("@daily", span((2026, 1, 1, 12, 34, 56), (2026, 1, 4))),
    "ends_within_interval": ("@daily", span((2026, 1, 1), (2026, 1, 2, 23, 59))),
    "ends_where_it_starts": ("@daily", span((2026, 1, 1), (2026, 1, 1))),
    "ends_before_it_starts": ("@daily", span((2026, 1, 2), (2026, 1, 1))),
    "starts_in_the_future": ("@daily", {"start_date": utc(2199, 1, 1)} | CATCH_UP),
    "without_start": ("@daily", {"end_date": utc(2026, 1, 1)} | DO_NOT),
    "trigger_starts_on_time": (
        CronTriggerTimetable("0 12 * * *", timezone="UTC"), span((2026, 1, 1, 12), (2026, 1, 3, 12))
    ),
    "trigger_starts_after": (
        CronTriggerTimetable("0 12 * * *", timezone="UTC"), span((2026, 1, 1, 12, 0, 1), (2026, 1, 3, 11, 59))
    ),
    "delta_starts_anywhere": (timedelta(hours=18), span((2026, 1, 1, 5, 7, 11), (2026, 1, 3))),
    # Without catch-up only the latest interval is run, and none that has ended already.
    "past_without_catchup": ("@daily", DAYS | DO_NOT),
    "past_trigger_without_catchup": (CronTriggerTimetable("@daily", timezone="UTC"), DAYS | DO_NOT),
    "past_delta_without_catchup": (timedelta(days=1), DAYS | DO_NOT),
    "today_daily": ("@daily", SINCE | DO_NOT),
    "today_cron": (CronDataIntervalTimetable("0 0 * * *", timezone="UTC"), SINCE | DO_NOT),
    "today_trigger": (CronTriggerTimetable("0 0 * * *", timezone="UTC", run_immediately=True), SINCE | DO_NOT),
    "today_far_zone": ("@daily", {"start_date": pendulum.datetime(2026, 1, 1, tz="Asia/Kathmandu")} | DO_NOT),
    # Several runs at once, or one after the other.
    "one_active_run": ("@daily", span((2026, 1, 1), (2026, 1, 5), max_active_runs=1)),
    "two_active_runs": ("@daily", span((2026, 1, 1), (2026, 1, 5), max_active_runs=2)),
    # Presets and other ways to say when.
    "hourly": ("@hourly", span((2026, 1, 1), (2026, 1, 1, 3))),
    "weekly": ("@weekly", span((2026, 1, 1), (2026, 1, 18))),
    "monthly": ("@monthly", span((2025, 11, 15), (2026, 2, 1))),
    "quarterly": ("@quarterly", span((2025, 2, 1), (2026, 1, 1))),
    "yearly": ("@yearly", span((2023, 6, 1), (2026, 1, 1))),
    "once_without_catchup": ("@once", SINCE | DO_NOT),
    "once_with_end": ("@once", DAYS | CATCH_UP),
    "once_in_the_future": ("@once", {"start_date": utc(2199, 1, 1)} | CATCH_UP),
    "continuous_in_the_past": ("@continuous", DAYS | CATCH_UP | {"max_active_runs": 1}),
    "never": (None, DAYS | CATCH_UP),
    "months": (relativedelta(months=1), span((2025, 10, 31), (2026, 2, 1))),
    "every_last_day": (relativedelta(months=1, day=31), span((2025, 11, 30), (2026, 3, 1))),
    "trigger_months": (
        DeltaTriggerTimetable(relativedelta(months=1), interval=timedelta(days=1)), span((2025, 11, 1), (2026, 2, 1))
    ),
    "trigger_interval_of_a_month": (
        CronTriggerTimetable("0 0 1 * *", timezone="UTC", interval=relativedelta(months=1)),
        span((2025, 11, 1), (2026, 2, 1)),
    ),
    "twice_a_week": ("15 4 * * MON,THU", span((2026, 1, 1), (2026, 1, 13))),
    "last_of_month": ("0 0 L * *", span((2025, 11, 1), (2026, 3, 1))),
    "second_friday": ("0 6 * * 5#2", span((2025, 11, 1), (2026, 2, 1))),
}  # fmt: skip

for name, (schedule, arguments) in TABLE.items():
    with DAG(f"bounds_{name}", schedule=schedule, **({"max_active_runs": 16} | arguments)):
        EmptyOperator(task_id="only")

# The earliest start and the latest end of Dag and tasks bound it.
with DAG("bounds_of_tasks", schedule="@daily", start_date=utc(2026, 1, 3), catchup=True, max_active_runs=16):
    EmptyOperator(task_id="early", start_date=utc(2026, 1, 1), end_date=utc(2026, 1, 2))
    EmptyOperator(task_id="late", start_date=utc(2026, 1, 2), end_date=utc(2026, 1, 4))

with DAG("bounds_of_one_task", schedule="@daily", catchup=True, max_active_runs=16, **DAYS):
    EmptyOperator(task_id="as_the_dag") >> EmptyOperator(task_id="later", start_date=utc(2026, 1, 2))
    EmptyOperator(task_id="earlier_end", end_date=utc(2026, 1, 1))
    EmptyOperator(task_id="beyond_the_dag", start_date=utc(2025, 12, 1), end_date=utc(2026, 2, 1))

with DAG(
    "bounds_of_default_args", schedule="@daily", catchup=True, max_active_runs=16, default_args=DAYS, **SINCE
):
    EmptyOperator(task_id="only")

# A run waits while the one before is active, and a failed run is not active.
with DAG("bounds_one_active_run_fails", schedule="@daily", max_active_runs=1, **DAYS, **CATCH_UP):

    @task
    def fails_on_the_second(logical_date=None):
        if logical_date.day == 2:
            raise ValueError("on purpose")

    fails_on_the_second()
