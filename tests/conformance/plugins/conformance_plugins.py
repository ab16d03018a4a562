"""What the Dags in `dags/plugins.py` and `dags/plugin_partitions.py` have of plugins."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.partition_mappers.base import PartitionMapper, RollupMapper
from airflow.partition_mappers.temporal import StartOfWeekMapper
from airflow.partition_mappers.window import Window
from airflow.plugins_manager import AirflowPlugin
from airflow.task.priority_strategy import PriorityWeightStrategy
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable


class ShiftTimetable(Timetable):
    """Shifts of some hours; a run starts an hour after the end of its shift. Without a start date there are none."""

    description = "After each shift"

    def __init__(self, hours: int, last_shift: int | None = None):
        self.hours = hours
        self.last_shift = last_shift
        """The shift of the start date's day after which the timetable fails."""

    def serialize(self):
        return {"hours": self.hours, "last_shift": self.last_shift}

    @classmethod
    def deserialize(cls, data):
        return cls(data["hours"], data["last_shift"])

    @property
    def summary(self):
        return f"every {self.hours} h"

    def _start_before(self, moment):
        return moment.replace(hour=moment.hour // self.hours * self.hours, minute=0, second=0, microsecond=0)

    def infer_manual_data_interval(self, *, run_after):
        end = self._start_before(run_after)
        return DataInterval(end - timedelta(hours=self.hours), end)

    def generate_run_id(self, *, run_type, run_after, data_interval, **extra):
        suffix = data_interval.start.strftime("%Y-%m-%dT%H") if data_interval else "no-shift"
        return f"{run_type.value}__{suffix}"

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        if restriction.earliest is None:
            return None
        if last_automated_data_interval:
            start = last_automated_data_interval.end
        elif restriction.catchup:
            start = self._start_before(restriction.earliest)
        else:
            start = self._start_before(restriction.latest)
        if self.last_shift is not None and start.hour // self.hours > self.last_shift:
            raise LookupError("no shift is known after that")
        if restriction.latest is not None and start > restriction.latest:
            return None
        interval = DataInterval(start, start + timedelta(hours=self.hours))
        return DagRunInfo(run_after=interval.end + timedelta(hours=1), data_interval=interval)


class Never(ShiftTimetable):
    """Runs by hand only, as the attributes say that a timetable may have."""

    description = ""
    periodic = False
    can_be_scheduled = False
    active_runs_limit = 3

    def __init__(self):
        super().__init__(24)

    def serialize(self):
        return {}

    @classmethod
    def deserialize(cls, data):
        return cls()

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        return None


class HalfDays(Timetable):
    """Two partitions a day, which are made by backfills or by hand alone: `2026-01-01-am` and `2026-01-01-pm`."""

    partitioned = True
    KEY = "%Y-%m-%d-%p"

    def infer_manual_data_interval(self, *, run_after):
        return DataInterval.exact(run_after)

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        return None

    def next_dagrun_info_v2(self, *, last_dagrun_info, restriction):
        return None

    def generate_run_id(self, *, run_type, run_after, data_interval, partition_key=None, **extra):
        return f"{run_type.value}__half__{partition_key or run_after.isoformat()}"

    def iter_partition_dagrun_infos(self, *, earliest, latest):
        start = earliest.replace(hour=0, minute=0, second=0, microsecond=0)
        while start <= latest:
            if start >= earliest:
                key = start.strftime(self.KEY).lower()
                yield DagRunInfo(run_after=start, data_interval=None, partition_date=start, partition_key=key)
            start += timedelta(hours=12)

    def _decode_partition_date(self, partition_key):
        day, _, half = partition_key.rpartition("-")
        return datetime.fromisoformat(day).replace(hour={"am": 0, "pm": 12}[half], tzinfo=timezone.utc)


class Prefix(PartitionMapper):
    """The part of a key before a dash, or several such parts; keys that begin with a dash are none."""

    def to_downstream(self, key):
        if key.startswith("-"):
            raise LookupError(f"{key} has no prefix")
        parts = [part.partition("-")[0] for part in key.split("+")]
        return parts if len(parts) > 1 else parts[0]


class Regions(Prefix):
    """Carries dates and reads them from keys that begin with a year: `2026 west`."""

    def to_partition_date(self, downstream_key):
        year, _, region = downstream_key.partition(" ")
        if region == "nowhere":
            raise LookupError("nowhere has no time")
        return datetime(int(year), 1, 1, tzinfo=timezone.utc) if region else None

    def carry_partition_date(self, source_partition_date):
        return source_partition_date


class Halves(Window):
    """Two keys for each: `KEY-1` and `KEY-2`."""

    def to_upstream(self, decoded_downstream):
        if decoded_downstream == "whole":
            raise LookupError("whole has no halves")
        return [f"{decoded_downstream}-1", f"{decoded_downstream}-2"]


class Workdays(Window):
    """The days of a week but Saturday and Sunday."""

    expected_decoded_type = datetime

    def to_upstream(self, decoded_downstream):
        return [decoded_downstream + timedelta(days=day) for day in range(5)]


class WorkdaysOfWeek(RollupMapper):
    """Weeks of days, all in one class."""

    def __init__(self):
        super().__init__(upstream_mapper=StartOfWeekMapper(input_format="%Y-%m-%d"), window=Workdays())

    def serialize(self):
        return {}

    @classmethod
    def deserialize(cls, data):
        return cls()


class WeighByIndex(PriorityWeightStrategy):
    """The later an index the heavier, each attempt heavier than all indexes before it."""

    def get_weight(self, ti):
        return 10 + ti.map_index + 100 * (ti.try_number or 0)


class WeighByName(PriorityWeightStrategy):
    """The number at the end of the task's id."""

    def get_weight(self, ti):
        return int(ti.task_id.rpartition("_")[2])


class ConformancePlugin(AirflowPlugin):
    name = "conformance_plugin"
    timetables = [ShiftTimetable, Never, HalfDays]
    priority_weight_strategies = [WeighByIndex, WeighByName]
    partition_mappers = [Prefix, Regions, WorkdaysOfWeek]
    windows = [Halves, Workdays]
