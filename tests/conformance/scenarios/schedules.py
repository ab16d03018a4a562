from scenario import Scenario

NAMES = (
    "daily", "cron", "timedelta", "once", "spring_daily", "autumn_hourly", "cron_data_interval", "cron_trigger",
    "cron_trigger_interval", "delta_data_interval", "delta_trigger", "multiple_cron_trigger", "events",
)  # fmt: skip

SCENARIOS = [Scenario(f"schedule_{name}", scheduled=True) for name in NAMES]
