"""Dags that assets start partition by partition: every mapper, window and wait policy of Airflow's own."""

from __future__ import annotations

import pendulum

from airflow.sdk import (
    DAG,
    AllowedKeyMapper,
    Asset,
    ChainMapper,
    CronPartitionTimetable,
    DayWindow,
    FanOutMapper,
    FixedKeyMapper,
    HourWindow,
    IdentityMapper,
    MinimumCount,
    MonthWindow,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    PartitionMapper,
    ProductMapper,
    QuarterWindow,
    RollupMapper,
    SegmentWindow,
    StartOfDayMapper,
    StartOfHourMapper,
    StartOfMonthMapper,
    StartOfQuarterMapper,
    StartOfWeekMapper,
    StartOfYearMapper,
    WeekWindow,
    Window,
    YearWindow,
    task,
)

START, END = pendulum.datetime(2026, 1, 1, tz="UTC"), pendulum.datetime(2026, 6, 1, tz="UTC")
DAY, MONTH = "%Y-%m-%d", "%Y-%m"


def asset(name: str) -> Asset:
    return Asset(name, uri=f"conformance://partitions/{name}")


def consumer(dag_id: str, assets, mapper: PartitionMapper | None = None, **settings) -> None:
    timetable = PartitionedAssetTimetable(assets=assets, default_partition_mapper=mapper or IdentityMapper(), **settings)
    with DAG(dag_id, schedule=timetable, start_date=START):

        @task
        def consume(*, dag_run, triggering_asset_events):
            keys = sorted(event.partition_key for events in triggering_asset_events.values() for event in events)
            return [dag_run.partition_key, keys]

        consume()


BACKWARD = Window.Direction.BACKWARD
MAPPERS = {
    "identity": IdentityMapper(),
    "hour": StartOfHourMapper(),
    "day": StartOfDayMapper(timezone="America/New_York"),
    "week": StartOfWeekMapper(),
    "month": StartOfMonthMapper(timezone="Europe/Berlin", output_format="%m/%Y"),
    "quarter": StartOfQuarterMapper(),
    "year": StartOfYearMapper(input_format=DAY),
    "fixed": FixedKeyMapper("everything"),
    "allowed": AllowedKeyMapper(["us", "eu"]),
    "product": ProductMapper(IdentityMapper(), StartOfDayMapper(), delimiter="/"),
    "chain": ChainMapper(StartOfHourMapper(), StartOfDayMapper(input_format="%Y-%m-%dT%H")),
    "rollup_segments": RollupMapper(upstream_mapper=FixedKeyMapper("all"), window=SegmentWindow(["us", "eu", "apac"])),
    "rollup_hour": RollupMapper(
        upstream_mapper=StartOfHourMapper(input_format="%Y-%m-%dT%H:%M"),
        window=HourWindow(),
        wait_policy=MinimumCount(2),
    ),
    "rollup_day": RollupMapper(
        upstream_mapper=StartOfDayMapper(input_format="%Y-%m-%dT%H"),
        window=DayWindow(),
        wait_policy=MinimumCount(-22),
    ),
    "rollup_week": RollupMapper(upstream_mapper=StartOfWeekMapper(input_format=DAY), window=WeekWindow()),
    "rollup_month": RollupMapper(
        upstream_mapper=StartOfMonthMapper(input_format=DAY), window=MonthWindow(), wait_policy=MinimumCount(-26)
    ),
    "rollup_quarter": RollupMapper(upstream_mapper=StartOfQuarterMapper(input_format=MONTH), window=QuarterWindow()),
    "rollup_year": RollupMapper(
        upstream_mapper=StartOfYearMapper(input_format=MONTH),
        window=YearWindow(direction=BACKWARD),
        wait_policy=MinimumCount(1),
    ),
    "rollup_unreachable": RollupMapper(
        upstream_mapper=FixedKeyMapper("all"), window=SegmentWindow(["us", "eu"]), wait_policy=MinimumCount(3)
    ),
    "fan_out_week": FanOutMapper(upstream_mapper=StartOfWeekMapper(input_format=DAY), window=WeekWindow()),
    "fan_out_quarter": FanOutMapper(
        upstream_mapper=StartOfQuarterMapper(input_format=MONTH), window=QuarterWindow(direction=BACKWARD)
    ),
    "fan_out_too_far": FanOutMapper(
        upstream_mapper=StartOfWeekMapper(input_format=DAY), window=WeekWindow(), max_downstream_keys=6
    ),
}
for name, mapper in MAPPERS.items():
    consumer(f"partition_{name}", asset(f"partition_{name}"), mapper)

# Two assets whose keys meet, one of them given by reference.
met, other = asset("met"), Asset.ref(name="met_other")
consumer("partition_two_assets", met & other, partition_mapper_config={met: StartOfDayMapper(), other: IdentityMapper()})
with DAG("partition_two_assets_declares", schedule=None, start_date=START):

    @task(outlets=[asset("met_other")])
    def declares():
        pass

    declares()

# One mapper says another date than the other for the same key.
here, there = asset("date_here"), asset("date_there")
consumer(
    "partition_dates_differ",
    here & there,
    partition_mapper_config={here: StartOfDayMapper(), there: StartOfDayMapper(timezone="Asia/Tokyo")},
)

# Keys that a task chooses, and the key of its run where it chooses none.
chosen = asset("chosen")
consumer("partition_chosen_by_task", chosen)
with DAG("partition_chosen_by_task_producer", schedule=PartitionedAtRuntime(), start_date=START):

    @task(outlets=[chosen])
    def choose(*, dag_run, outlet_events):
        for key in dag_run.conf.get("keys", []):
            outlet_events[chosen].add_partitions(key)

    choose()

# A run made for a partition hands the partition's date on.
dated = asset("dated")
consumer("partition_dated", dated)
with DAG(
    "partition_dated_producer",
    schedule=CronPartitionTimetable("0 0 1 1 *", timezone="UTC"),
    start_date=START,
    end_date=END,
):

    @task(outlets=[dated])
    def produce_dated():
        pass

    produce_dated()

# Events without a partition start no partition's run, those with one start nobody who does not ask for partitions.
consumer("partition_missing", asset("missing"))
with DAG("partition_not_asked_for", schedule=[asset("not_asked_for")], start_date=START):

    @task
    def consume_all(*, triggering_asset_events):
        return sorted(str(event.partition_key) for events in triggering_asset_events.values() for event in events)

    consume_all()
