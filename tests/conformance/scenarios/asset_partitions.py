"""What happens to the assets of `dags/asset_partitions.py`."""

from __future__ import annotations

from scenario import Event, Pause, Produce, Scenario


def consumed(dag_id: str, *steps: Event | Produce | Pause) -> Scenario:
    return Scenario(dag_id, runs=(), scheduled=True, steps=steps)


def partitions(dag_id: str, *keys: str) -> Scenario:
    """Events of the asset of the same name, one at once after the other, for a partition each."""
    return consumed(dag_id, *(Event(dag_id, {"key": key}, key, settle_seconds=0) for key in keys))


WEEK = tuple(f"2026-03-{day:02}" for day in range(9, 16))

SCENARIOS = [
    partitions("partition_identity", "x", "y"),
    partitions("partition_hour", "2026-03-13T10:42:15"),
    partitions("partition_day", "2026-03-13T10:42:15", "2026-03-08T02:30:00"),
    partitions("partition_week", "2026-03-13T10:42:15"),
    partitions("partition_month", "2026-03-13T10:42:15"),
    partitions("partition_quarter", "2026-05-13T10:42:15", "2026-13-13T10:42:15"),
    partitions("partition_year", "2026-03-13"),
    partitions("partition_fixed", "a"),
    partitions("partition_allowed", "mars", "us"),
    partitions("partition_product", "eu/2026-03-13T10:42:15", "eu"),
    partitions("partition_chain", "2026-03-13T10:42:15"),
    partitions("partition_rollup_segments", "us", "mars", "eu", "apac"),
    partitions("partition_rollup_hour", "2026-03-13T10:42", "2026-03-13T11:01", "2026-03-13T10:01"),
    partitions("partition_rollup_day", "2026-03-13T10", "2026-03-13T10", "2026-03-13T23"),
    partitions("partition_rollup_week", *WEEK),
    partitions("partition_rollup_month", "2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04", "2026-03-31"),
    partitions("partition_rollup_quarter", "2026-01", "2026-02", "2026-04", "2026-03"),
    partitions("partition_rollup_year", "2025-06", "2026-01"),
    partitions("partition_rollup_unreachable", "us", "eu"),
    partitions("partition_fan_out_week", "2026-03-11"),
    partitions("partition_fan_out_quarter", "2026-05"),
    partitions("partition_fan_out_too_far", "2026-03-11"),
    consumed(
        "partition_two_assets",
        Event("met", partition_key="2026-03-13T10:42:15"),
        Event("met_other", partition_key="2026-03-12"),
        Event("met", partition_key="2026-03-13T11:42:15"),
        Event("met_other", partition_key="2026-03-13"),
    ),
    consumed(
        "partition_dates_differ",
        Event("date_here", partition_key="2026-03-13T10:42:15"),
        Event("date_there", partition_key="2026-03-13T10:42:15"),
    ),
    consumed(
        "partition_chosen_by_task",
        Produce("partition_chosen_by_task_producer", {"keys": ["one", "two"]}, "of_run"),
        Produce("partition_chosen_by_task_producer", {}, "of_run"),
        Produce("partition_chosen_by_task_producer", {}),
    ),
    consumed("partition_dated", Pause("partition_dated_producer", False, 15)),
    consumed("partition_missing", Event("missing")),
    consumed("partition_not_asked_for", Event("not_asked_for", partition_key="x"), Event("not_asked_for")),
]
