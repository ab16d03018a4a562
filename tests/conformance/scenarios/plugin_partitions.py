"""What happens to the assets of `dags/plugin_partitions.py`."""

from __future__ import annotations

from scenario import Event, Pause, Scenario


def consumed(dag_id: str, *steps: Event | Pause) -> Scenario:
    return Scenario(dag_id, runs=(), scheduled=True, steps=steps)


def partitions(name: str, *keys: str) -> Scenario:
    """Events of the asset of the same name, for a partition each; one after the other, for they may be mapped later."""
    dag_id = f"plugin_partition_{name}"
    return consumed(dag_id, *(Event(dag_id, {"key": key}, key, settle_seconds=1) for key in keys))


SCENARIOS = [
    partitions("prefix", "a-1", "b+c", "-1", "a-2"),
    partitions("prefix_too_far", "a+b+c", "d+e"),
    partitions("regions", "2026 west-1", "2026", "2026 nowhere"),
    partitions("product", "a-1/x", "-1/x", "a"),
    partitions("chain", "a-1"),
    partitions("halves", "a-1", "a-3", "b-1", "a-2", "whole-1"),
    partitions("half", "a-2"),
    partitions("too_many_halves", "a-1", "a-2"),
    partitions("workdays", "2026-03-13", "2026-03-15", "2026-03-10"),
    partitions("workdays_of_week", "2026-03-09", "2026-03-10", "2026-03-11", "2026-03-12", "2026-03-13", "2026-13-01"),
    consumed(
        "plugin_partition_two_assets",
        Event("plugin_partition_plain", partition_key="2026 east"),
        Event("plugin_partition_foreign", partition_key="2026 west-1"),
        Event("plugin_partition_foreign", partition_key="2026 east-1"),
    ),
    consumed("plugin_partition_dated", Pause("plugin_partition_dated_producer", False, 15)),
]
