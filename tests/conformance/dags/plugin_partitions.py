"""Dags whose partitions the mappers and windows of plugins name (`plugins/conformance_plugins.py`)."""

from __future__ import annotations

import pendulum
from conformance_plugins import Halves, Prefix, Regions, Workdays, WorkdaysOfWeek

from airflow.sdk import (
    DAG,
    Asset,
    ChainMapper,
    CronPartitionTimetable,
    FixedKeyMapper,
    IdentityMapper,
    MinimumCount,
    PartitionedAssetTimetable,
    ProductMapper,
    RollupMapper,
    StartOfWeekMapper,
    task,
)

START, END = pendulum.datetime(2026, 1, 1, tz="UTC"), pendulum.datetime(2026, 6, 1, tz="UTC")


def asset(name: str) -> Asset:
    return Asset(name, uri=f"conformance://plugin_partitions/{name}")


def consumer(dag_id: str, assets, mapper=None, **settings) -> None:
    timetable = PartitionedAssetTimetable(assets=assets, default_partition_mapper=mapper or IdentityMapper(), **settings)
    with DAG(dag_id, schedule=timetable, start_date=START):

        @task
        def consume(*, dag_run, triggering_asset_events):
            keys = sorted(event.partition_key for events in triggering_asset_events.values() for event in events)
            return [dag_run.partition_key, keys]

        consume()


WEEK = StartOfWeekMapper(input_format="%Y-%m-%d")
MAPPERS = {
    "prefix": Prefix(),
    "prefix_too_far": Prefix(max_downstream_keys=2),
    "regions": Regions(),
    "product": ProductMapper(Prefix(), IdentityMapper(), delimiter="/"),
    "chain": ChainMapper(Prefix(), FixedKeyMapper("all")),
    "halves": RollupMapper(upstream_mapper=Prefix(), window=Halves()),
    "half": RollupMapper(upstream_mapper=Prefix(), window=Halves(), wait_policy=MinimumCount(1)),
    "too_many_halves": RollupMapper(upstream_mapper=Prefix(), window=Halves(), wait_policy=MinimumCount(3)),
    "workdays": RollupMapper(upstream_mapper=WEEK, window=Workdays(), wait_policy=MinimumCount(-3)),
    "workdays_of_week": WorkdaysOfWeek(),
}
for name, mapper in MAPPERS.items():
    consumer(f"plugin_partition_{name}", asset(f"plugin_partition_{name}"), mapper)

# One mapper is a plugin's, the other one is not.
plain, foreign = asset("plugin_partition_plain"), asset("plugin_partition_foreign")
consumer("plugin_partition_two_assets", plain & foreign, partition_mapper_config={foreign: Regions()})

# The producing run hands its partition's date on.
dated = asset("plugin_partition_dated")
consumer("plugin_partition_dated", dated, Regions())
with DAG(
    "plugin_partition_dated_producer",
    schedule=CronPartitionTimetable("0 0 1 1 *", timezone="UTC", key_format="%Y"),
    start_date=START,
    end_date=END,
):

    @task(outlets=[dated])
    def produce_dated():
        pass

    produce_dated()
