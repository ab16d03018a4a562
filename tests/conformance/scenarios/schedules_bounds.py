from scenario import Scenario

WITH_RUNS = (
    "starts_within_interval", "ends_within_interval", "ends_where_it_starts", "trigger_starts_on_time",
    "trigger_starts_after", "delta_starts_anywhere", "one_active_run", "two_active_runs", "hourly", "weekly", "monthly",
    "quarterly", "yearly", "once_without_catchup", "once_with_end", "months", "every_last_day", "trigger_months",
    "trigger_interval_of_a_month", "twice_a_week", "last_of_month", "second_friday", "of_tasks", "of_one_task",
    "of_default_args", "one_active_run_fails",
)  # fmt: skip
WITHOUT_RUNS = (
    "ends_before_it_starts", "starts_in_the_future", "without_start", "past_without_catchup",
    "past_trigger_without_catchup", "past_delta_without_catchup", "once_in_the_future", "continuous_in_the_past",
    "never",
)  # fmt: skip
OF_TODAY = {"daily": "UTC", "cron": "UTC", "trigger": "UTC", "far_zone": "Asia/Kathmandu"}

SCENARIOS = [
    *(Scenario(f"bounds_{name}", scheduled=True) for name in WITH_RUNS),
    *(Scenario(f"bounds_{name}", scheduled=True, without_runs=True) for name in WITHOUT_RUNS),
    *(Scenario(f"bounds_today_{name}", scheduled=True, of_today=zone) for name, zone in OF_TODAY.items()),
]
