"""What deadlines of the Dags in `dags/deadlines.py` count from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.definitions.deadline import BaseDeadlineReference


@dataclass
class DayOfRun(BaseDeadlineReference):
    """Some days after the logical date of the run, as the metadata database has it."""

    days: int | None = 0

    required_kwargs = frozenset(("dag_id", "run_id"))

    def serialize_reference(self):
        return super().serialize_reference() | {"days": self.days}

    @classmethod
    def deserialize_reference(cls, reference_data):
        return cls(reference_data["days"])

    def _evaluate_with(self, *, session, dag_id, run_id):
        from airflow.models import DagRun
        from sqlalchemy import select

        if self.days is None:
            return None
        run = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).one()
        return run.logical_date + timedelta(days=self.days)


class ConformanceDeadlines(AirflowPlugin):
    name = "conformance_deadlines"
    deadline_references = [DayOfRun]
