"""Records what the timetables of official Airflow answer, for the replay in `model/tests/timetables.rs`.

Run it with the Python of the pinned environment, from anywhere; it rewrites the JSON files beside it:

    .venv/bin/python tests/conformance/timetables/record.py

Times are Unix seconds (a float has microseconds). A chain of occurrences is its start and the distances
between neighbours, run-length encoded: `"300*12 3900"`.
"""

from __future__ import annotations

import datetime
import itertools
import json
import os
import pathlib
import tempfile
from contextlib import ExitStack
from unittest import mock

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp())
os.environ["LC_ALL"] = "en_US"

import pendulum
from croniter import CroniterBadDateError, croniter
from dateutil.relativedelta import FR, MO, relativedelta

from airflow.serialization.encoders import encode_timetable
from airflow.timetables._cron import CronMixin
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.events import EventsTimetable
from airflow.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from airflow.timetables.simple import (
    AssetTriggeredTimetable,
    ContinuousTimetable,
    NullTimetable,
    OnceTimetable,
    PartitionedAtRuntime,
)
from airflow.timetables.trigger import (
    CronPartitionTimetable,
    CronTriggerTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)
from airflow.sdk import Asset
from airflow.serialization.encoders import ensure_serialized_asset
from airflow.utils.types import DagRunType

HERE = pathlib.Path(__file__).parent
UTC = pendulum.UTC

EXPRESSIONS = """
* * * * *|*/5 * * * *|0 * * * *|30 * * * *|15,45 * * * *|*/7 * * * *|0 0 * * *|30 2 * * *|0 2 * * *|0 3 * * *
59 1 * * *|15 2 * * *|0 */2 * * *|0 */6 * * *|*/15 2 * * *|0 1-4 * * *|*/20 0-5 * * *|0 9-17 * * 1-5|0 0-23 * * *
0 9-17/2 * * MON-FRI|0 0 * * 0|0 0 * * 7|0 0 * * SUN|0 12 * * 1,3,5|0 12 * * mon,wed,fri|0 0 1 * *|0 0 15 * *
0 0 31 * *|0 0 29 2 *|0 0 30 2-4 *|0 0 L * *|30 18 L 2 *|0 0 1,L * *|0 0 20-L * *|0 0 * JAN *|0 0 1 jan,jul *
0 0 1 */3 *|0 0 1-7 * *|0 0 13 * 5|0 0 13 * FRI|0 0 1,15 * 1|0 0 */2 * 1|0 0 1-7 * */2|0 0 1-31 * 1|0 0 * * 5#3
0 0 * * MON#1|0 10 * * 2#1,4#3|0 0 * * L5|0 0 * * L7|0 0 13 * 5#2|0 22-2 * * *|0 22-3/2 * * *|0 0 * * 5-1
0 0 * * FRI-MON|0 0 * * SAT-7|0 0 * NOV-FEB *|0 0 * OCT-MAR/2 *|5/15 * * * *|59/15 * * * *|0 5-5 * * *|@hourly
@daily|@midnight|@weekly|@monthly|@quarterly|@yearly|@annually|0 0 * * 1-7|0 0 * * 0-6|0 0 ? * 1|0 0 1 * ?
10-50/20 3 1 1 *|0 0 * * 6,7|0 0 15W * *|0 6 1W * *|0 6 31W * *|0 0 15W * MON|0 0 * * *,5|0 1,* * * *
0 0 * * * 30|* * * * * */20|0 0 1 1 * 0 2014-2028/2|*/10 9-17 * * 1-5|45 23 * * 6|0 0 1 1-12/4 *|0 4 8-14 * *
0 3/4 * * *|1-10 2 * * *|0 0 1 3,6,9,12 *|0 0 */10 * *|2-58/7 1-2 * * *|0 0 2/2 3/2 *|0 0 * * 1/2|5/15,3 4 * * *
0 0 * * 1,3-5|30 6,14,16 * * *|30 6,18 * * *|0 0 * 1-3 *|0-10 11 * * *|* 11 * * *|0 0 1/5 * *|0 0 * * MON,WED/2
"""
EXPRESSIONS = [e.strip() for line in EXPRESSIONS.strip().splitlines() for e in line.split("|")]

REFUSED = """
60 * * * *|* 24 * * *|0 0 0 * *|0 0 32 * *|0 0 * 13 *|0 0 * 0 *|0 0 * * 8|0 0 * * 5L|0 0 * * 1#6|0 0 * * 1#0
0 0 * * 1-3#2|0 0 * * 1,3#2|* * * *|* * * * * * * *|*/0 * * * *|1-2-3 * * * *|a * * * *|0 0 L-3 * *|0 0 15W,3 * *
? * * * *|0 0 5? * *|-5 * * * *|5- * * * *|1,,2 * * * *|0 0 * * *#2|0 0 * * jan#1|0 0 LW * *|H * * * *|@once|@reboot
0 0 * foo *|5/ * * * *|0 0 0W * *|0 0 * * L|*/5/2 * * * *
"""
REFUSED = [e.strip() for line in REFUSED.strip().splitlines() for e in line.split("|")]

# Accepted, yet without a date: the last two because `#` and `W` never meet the other day field.
NEVER = ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 1 1 * 0 1980-1999", "0 0 13 * MON#1", "0 0 15W * SUN"]

# Zones with the dates around which occurrences are recorded: changes of the clock, and ends of months.
ZONES = {
    "America/New_York": ["2025-03-09", "2025-11-02"],
    "Europe/Berlin": ["2025-03-30", "2024-10-27"],
    "Australia/Sydney": ["2025-04-06", "2025-10-05"],
    "Australia/Lord_Howe": ["2025-04-06", "2025-10-05"],
    "America/Sao_Paulo": ["2018-11-04", "2018-02-18"],
    "Europe/Dublin": ["2025-03-30", "2025-10-26"],
    "Africa/Casablanca": ["2025-02-23", "2025-04-06"],
    "America/Havana": ["2025-03-09", "2025-11-02"],
    "Pacific/Apia": ["2020-09-27", "2020-04-05"],
    "UTC": ["2024-02-29"],
    "Asia/Kathmandu": ["2025-12-31"],
    19800: ["2025-01-01"],
}


def stamp(at):
    if at is None:
        return None
    seconds = at.timestamp()
    return int(seconds) if seconds == int(seconds) else seconds


def encode_chain(times):
    steps = [stamp(b) - stamp(a) for a, b in itertools.pairwise(times)]
    runs = [(step, len(list(group))) for step, group in itertools.groupby(steps)]
    return " ".join(f"{step}*{count}" if count > 1 else f"{step}" for step, count in runs)


def chain(step, start, length):
    """The chain from a start. One that ends early, for want of further dates, is marked with `!`."""
    times = [start]
    try:
        for _ in range(length):
            times.append(step(times[-1]))
    except CroniterBadDateError:
        return f"{encode_chain(times)} !"
    return encode_chain(times)


def record_occurrences():
    """Forwards and backwards over every date of every zone, from a time that is no occurrence itself."""
    zones = {}
    for zone, dates in ZONES.items():
        for date in dates:
            middle = pendulum.parse(date, tz="UTC").add(hours=3, minutes=37, seconds=13, microseconds=500000)
            chains = []
            for expression in EXPRESSIONS:
                timetable = CronDataIntervalTimetable(expression, pendulum.timezone(zone))
                first = timetable._get_next(middle)
                distance = (timetable._get_next(first) - first).total_seconds()
                dense = distance < 3600 * 5
                lead = datetime.timedelta(seconds=min(distance * 15, 36 * 3600))
                length = 45 if dense else 6
                chains.append([
                    int(lead.total_seconds()),
                    chain(timetable._get_next, middle - lead, length),
                    chain(timetable._get_prev, middle + lead, length),
                    stamp(timetable._align_to_next(first)) - stamp(first),
                    stamp(timetable._align_to_prev(middle)) - int(stamp(middle)),
                ])
            zones[f"{zone} {date}"] = {"zone": zone, "middle": stamp(middle), "chains": chains}
    descriptions = [CronDataIntervalTimetable(e, UTC).description for e in EXPRESSIONS]
    for expression in REFUSED:
        try:
            croniter(expression)
        except Exception:
            continue
        raise AssertionError(f"croniter accepts {expression}")
    for expression in NEVER:
        try:
            croniter(expression, datetime.datetime(2025, 3, 9)).get_next()
        except CroniterBadDateError:
            continue
        raise AssertionError(f"croniter finds a date for {expression}")
    return {
        "expressions": EXPRESSIONS,
        "descriptions": descriptions,
        "refused": REFUSED,
        "never": NEVER,
        "zones": zones,
    }


def timetables():
    ny, berlin, lord_howe = map(pendulum.timezone, ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe"])
    hour, minute = datetime.timedelta(hours=1), datetime.timedelta(minutes=1)
    for zone in (UTC, ny, lord_howe, pendulum.FixedTimezone(19800)):
        for expression in ("0 * * * *", "30 2 * * *", "*/30 1-3 * * *", "0 9 * * MON-FRI", "@monthly", "0 0 31 * *"):
            yield CronDataIntervalTimetable(expression, zone)
    for expression in ("@quarterly", "@midnight", "0 0 29 2 *", "0 0 30 2 *"):
        yield CronDataIntervalTimetable(expression, berlin)
    deltas = [
        hour, 90 * minute, datetime.timedelta(days=1), datetime.timedelta(days=2, hours=2, microseconds=500),
        relativedelta(months=1), relativedelta(months=1, day=31), relativedelta(years=1), relativedelta(hours=+5),
        relativedelta(days=+1, weekday=MO), relativedelta(weekday=FR(+2), days=1, hours=3), relativedelta(months=14, days=3),
        relativedelta(leapdays=1, days=30),
    ]
    for delta in deltas:
        yield DeltaDataIntervalTimetable(delta)
        yield DeltaTriggerTimetable(delta, interval=hour)
    for zone in (UTC, berlin, lord_howe):
        for run_immediately in (True, False, None, datetime.timedelta(minutes=20), datetime.timedelta(hours=14)):
            for expression in ("0 * * * *", "30 2 * * *", "*/30 1-3 * * SUN"):
                yield CronTriggerTimetable(
                    expression, timezone=zone, interval=hour, run_immediately=run_immediately
                )
    yield CronTriggerTimetable("0 0 * * *", timezone=ny, interval=relativedelta(months=1))
    yield MultipleCronTriggerTimetable("0 3 * * *", "15 */5 * * *", "0 0 1 * *", timezone=ny, interval=hour)
    yield MultipleCronTriggerTimetable("*/10 2 * * *", "0 0 * * 1", timezone=berlin, run_immediately=True)
    yield MultipleCronTriggerTimetable("0 0 30 3 *", "0 0 * * *", timezone=UTC, run_immediately=30 * minute)
    yield CronPartitionTimetable("0 2 * * *", timezone=berlin, run_offset=-1, key_format="%Y-%m-%d")
    yield CronPartitionTimetable("30 * * * *", timezone=ny, run_offset=2)
    yield CronPartitionTimetable("@daily", timezone=UTC, run_immediately=True)
    yield OnceTimetable()
    yield ContinuousTimetable()
    yield NullTimetable()
    yield PartitionedAtRuntime()
    assets = ensure_serialized_asset(Asset("orders", uri="s3://bucket/orders"))
    yield AssetTriggeredTimetable(assets)
    yield AssetOrTimeSchedule(assets=assets, timetable=CronTriggerTimetable("30 2 * * *", timezone=berlin))
    yield AssetOrTimeSchedule(assets=assets, timetable=OnceTimetable())
    events = [pendulum.datetime(2025, 3, day, 7, tz="Europe/Berlin") for day in (2, 28, 30, 31)]
    yield EventsTimetable(events, restrict_to_events=True, description="Matches")
    yield EventsTimetable(events)


def attributes(timetable):
    return {
        "type_name": timetable.type_name,
        "summary": timetable.summary,
        "description": timetable.description,
        "periodic": timetable.periodic,
        "can_be_scheduled": timetable.can_be_scheduled,
        "active_runs_limit": timetable.active_runs_limit,
        "partitioned": timetable.partitioned,
        "run_ordering": list(timetable.run_ordering),
    }


def frozen(now):
    stack = ExitStack()
    for target in ("interval.utcnow", "trigger.utcnow", "simple.timezone.utcnow"):
        stack.enter_context(mock.patch(f"airflow.timetables.{target}", lambda: now))
    stack.enter_context(mock.patch("airflow.timetables.trigger.time.time", now.timestamp))
    stack.enter_context(mock.patch("airflow.timetables.trigger.log"))
    return stack


def answer(info):
    if info is None:
        return None
    interval = info.data_interval
    return [
        stamp(info.run_after),
        interval and stamp(interval.start),
        interval and stamp(interval.end),
        stamp(info.partition_date),
        info.partition_key,
    ]


def runs(timetable, restriction, now, length):
    """Run after run at a fixed time; an error or the end closes the list."""
    found, info = [], None
    for _ in range(length):
        try:
            with frozen(now):
                info = timetable.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)
        except Exception:
            return [*found, "error"]
        found.append(answer(info))
        if info is None:
            break
    return found


def after_older_schedule(timetable, restriction, now):
    """The next run after one that another schedule made."""
    interval = DataInterval(pendulum.datetime(2025, 3, 9, 4, 30), pendulum.datetime(2025, 3, 9, 5, 30))
    try:
        with frozen(now):
            return answer(timetable.next_dagrun_info(last_automated_data_interval=interval, restriction=restriction))
    except Exception:
        return "error"


def manual(timetable, at):
    try:
        interval = timetable.infer_manual_data_interval(run_after=at)
        return [stamp(interval.start), stamp(interval.end)]
    except Exception:
        return "error"


def run_ids(timetable, at):
    ids = []
    for run_type in DagRunType:
        with (
            mock.patch("airflow.timetables.trigger.get_random_string", lambda: "aB3dE6gH"),
            mock.patch("airflow.models.dagrun.get_random_string", lambda: "aB3dE6gH"),
        ):
            ids.append(timetable.generate_run_id(run_type=run_type, run_after=at, data_interval=None))
    return ids


def record_timetables():
    nows = [
        pendulum.datetime(2025, 3, 9, 7, 10, 0, 250000),
        pendulum.datetime(2025, 3, 30, 1, 0),
        pendulum.datetime(2025, 4, 5, 15, 30),
        pendulum.datetime(2025, 11, 2, 6, 30),
    ]
    earliest = [None, pendulum.datetime(2025, 1, 31), pendulum.datetime(2025, 3, 29, 12, 34, 56), pendulum.datetime(2025, 12, 1)]
    latest = [None, pendulum.datetime(2025, 3, 30, 5)]
    situations = [
        [TimeRestriction(start, end, catchup), now]
        for now, start, end, catchup in itertools.product(nows, earliest, latest, [True, False])
    ]
    recorded = []
    for timetable in timetables():
        recorded.append({
            "timetable": encode_timetable(timetable),
            "attributes": attributes(timetable),
            "runs": [runs(timetable, restriction, now, 3) for restriction, now in situations],
            "after_older_schedule": [
                after_older_schedule(timetable, restriction, now) for restriction, now in situations[::3]
            ] if not timetable.partitioned else [],
            "manual": [manual(timetable, now) for now in nows],
            "run_ids": [run_ids(timetable, now) for now in nows[:2]],
        })
    return {
        "situations": [
            [stamp(r.earliest), stamp(r.latest), r.catchup, stamp(now)] for r, now in situations
        ],
        "nows": [stamp(now) for now in nows],
        "run_types": [run_type.value for run_type in DagRunType],
        "timetables": recorded,
    }


def write(name, data):
    (HERE / name).write_text(json.dumps(data, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    write("occurrences.json", record_occurrences())
    write("timetables.json", record_timetables())
