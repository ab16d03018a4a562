"""Records what the partition mappers of official Airflow answer, for the replay in `model/tests/partition_mappers.rs`.

Run it with the Python of the pinned environment, from anywhere; it rewrites the JSON file beside it:

    .venv/bin/python tests/conformance/partition_mappers/record.py

`answers.json` is a list of mappers: `{"mapper": serialised, "is_rollup", "downstream": {KEY: [keys] | key | "error"},
"upstream": {DOWNSTREAM_KEY: [sorted keys] | "error"}, "dates": {DOWNSTREAM_KEY: text | null | "error"}}`.
"""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
from datetime import datetime, timedelta, timezone

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp())

from airflow.partition_mappers.allowed_key import AllowedKeyMapper
from airflow.partition_mappers.base import RollupMapper, is_rollup
from airflow.partition_mappers.chain import ChainMapper
from airflow.partition_mappers.fixed_key import FixedKeyMapper
from airflow.partition_mappers.identity import IdentityMapper
from airflow.partition_mappers.product import ProductMapper
from airflow.partition_mappers.temporal import (
    FanOutMapper,
    StartOfDayMapper,
    StartOfHourMapper,
    StartOfMonthMapper,
    StartOfQuarterMapper,
    StartOfWeekMapper,
    StartOfYearMapper,
)
from airflow.partition_mappers.wait_policy import MinimumCount
from airflow.partition_mappers.window import (
    DayWindow,
    HourWindow,
    MonthWindow,
    QuarterWindow,
    SegmentWindow,
    WeekWindow,
    Window,
    YearWindow,
)
from airflow.serialization.encoders import encode_partition_mapper

HERE = pathlib.Path(__file__).parent
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
TEMPORAL = (
    StartOfHourMapper, StartOfDayMapper, StartOfWeekMapper, StartOfMonthMapper, StartOfQuarterMapper, StartOfYearMapper,
)  # fmt: skip
MOMENTS = [
    datetime(2024, 2, 29, 23, 59, 59), datetime(2026, 3, 8, 2, 30), datetime(2026, 3, 29, 2, 30, 1),
    datetime(2026, 10, 25, 2, 30), datetime(2026, 11, 1, 1, 15), datetime(2026, 1, 1), datetime(2027, 1, 1, 12),
    datetime(2025, 12, 29), datetime(1999, 12, 31, 23), datetime(2026, 4, 5, 2), datetime(2026, 10, 4, 2, 15),
]  # fmt: skip
INPUT = "%Y-%m-%dT%H:%M:%S"
FORMATS = (
    INPUT, "%Y-%m-%d", "%Y%m%dT%H", "%d.%m.%y %H:%M", "%Y-%m-%dT%H:%M:%S.%f", "%d %b %Y", "%A, %B %d %Y %I %p", "%Y/%j",
    "%G-W%V-%u", "%Y %U %w", "%Y %W %a", "100%% %Y-%m", "%Y-%m-%dT%H:%M:%S%z",
)  # fmt: skip
ODD_KEYS = (
    "", "x", "2026", "2026-13-01", "2026-02-30", "2026-2-3", "2026-03-13", "2026-03-13T10", "2026-03-13T10:42:15",
    "2026-03-13T10:42:15 ", "2026-03-13T10:42:61", "2026-03-13T25:00:00", "0000-01-01T00:00:00",
    "us", "us|2026-03-13T10:42:15", "2026-Q1", "2026-Q5", "2026-03-09 (W11)", "2026-03-13T10:42:15Z",
    "2026-03-13T10:42:15+02:00", "2026-03-13T10:42:15-0530", "2026-053", "13 Mar 2026", "13 mar 2026", "2026-W11-5",
)  # fmt: skip


def mappers():
    yield from (IdentityMapper(), FixedKeyMapper("all"), AllowedKeyMapper(["us", "x"], max_downstream_keys=3))
    for mapper in TEMPORAL:
        for zone in ZONES:
            yield mapper(timezone=zone)
        for form in FORMATS:
            yield mapper(timezone="America/New_York", input_format=form)
        yield mapper(timezone="Europe/Berlin", input_format="%Y-%m-%dT%H:%M:%S%z", output_format="%Y-%m-%dT%H:%M:%S%z %Z")
        yield mapper(output_format="{quarter}." + INPUT if mapper is StartOfQuarterMapper else "%Y-%m-%d-%H-%M-%S-%j-%e-%q")
    yield ProductMapper(IdentityMapper(), StartOfDayMapper())
    yield ProductMapper(StartOfDayMapper(), StartOfDayMapper(), IdentityMapper(), delimiter="-")
    yield ProductMapper(IdentityMapper(), FanOutMapper(upstream_mapper=StartOfWeekMapper(), window=WeekWindow()))
    yield ChainMapper(StartOfHourMapper(), StartOfDayMapper(input_format="%Y-%m-%dT%H"))
    yield ChainMapper(
        FanOutMapper(upstream_mapper=StartOfWeekMapper(), window=WeekWindow()),
        StartOfMonthMapper(input_format="%Y-%m-%d"),
    )
    for direction in Window.Direction:
        for zone in ("UTC", "America/New_York", "Australia/Lord_Howe"):
            for mapper, window in (
                (StartOfHourMapper, HourWindow), (StartOfDayMapper, DayWindow), (StartOfWeekMapper, WeekWindow),
                (StartOfMonthMapper, MonthWindow), (StartOfQuarterMapper, QuarterWindow), (StartOfYearMapper, YearWindow),
                (StartOfDayMapper, MonthWindow),
            ):  # fmt: skip
                upstream, window = mapper(timezone=zone, input_format="%Y-%m-%dT%H:%M"), window(direction=direction)
                yield RollupMapper(upstream_mapper=upstream, window=window, wait_policy=MinimumCount(-3))
                yield FanOutMapper(
                    upstream_mapper=upstream, window=window, downstream_mapper=StartOfHourMapper(timezone=zone)
                )
                yield FanOutMapper(upstream_mapper=upstream, window=window, downstream_mapper=IdentityMapper())
    yield RollupMapper(upstream_mapper=FixedKeyMapper("all"), window=SegmentWindow(["us", "eu"]))
    yield RollupMapper(
        upstream_mapper=StartOfDayMapper(timezone="Europe/Berlin", output_format="%Y-%m-%d%z", input_format=INPUT),
        window=DayWindow(),
    )


def answer(ask):
    """What it answers; of an error what Airflow writes to the audit log, unless its words are Python's own."""
    try:
        found = ask()
    except Exception as error:
        return f"error: {type(error).__name__}"
    if isinstance(found, frozenset):
        return sorted(found)
    return found.astimezone(timezone.utc).isoformat() if isinstance(found, datetime) else found


def keys_of(mapper) -> list[str]:
    form = getattr(getattr(mapper, "upstream_mapper", mapper), "input_format", INPUT)
    zone = timezone(timedelta(hours=3))
    # What is made of a window is long; a few odd keys are enough.
    odd = ODD_KEYS[::4] if hasattr(mapper, "window") else ODD_KEYS
    return [*odd, *(moment.replace(tzinfo=zone if "%z" in form else None).strftime(form) for moment in MOMENTS)]


def record() -> list[dict]:
    recorded = []
    for mapper in mappers():
        keys = keys_of(mapper)
        downstream = {key: answer(lambda key=key: mapper.to_downstream(key)) for key in keys}
        given = [key for found in downstream.values() for key in ([found] if isinstance(found, str) else found)]
        targets = sorted({key for key in (*given[:20], *ODD_KEYS) if not key.startswith("error: ")})
        recorded.append(
            {
                "mapper": encode_partition_mapper(mapper),
                "is_rollup": is_rollup(mapper),
                "downstream": downstream,
                "upstream": {key: answer(lambda key=key: mapper.to_upstream(key)) for key in targets}
                if is_rollup(mapper)
                else {},
                "dates": {key: answer(lambda key=key: mapper.to_partition_date(key)) for key in targets},
            }
        )
    return recorded


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(entry, sort_keys=True, separators=(",", ":")) for entry in record())
    (HERE / "answers.json").write_text(f"[\n{lines}\n]\n")
