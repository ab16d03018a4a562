"""How a Dag is run, and what of the outcome is fixed. Which Dags are run is said in `scenarios/`."""

from __future__ import annotations

from dataclasses import dataclass

EXAMPLES, STANDARD, CONFORMANCE = "examples", "standard_examples", "conformance"
FIRST_DAY = "2026-01-01T00:00:00Z"


@dataclass(frozen=True)
class Trigger:
    """One `POST /api/v2/dags/{dag_id}/dagRuns`."""

    run_id: str = "conformance"
    logical_date: str | None = FIRST_DAY
    conf: dict | None = None
    ends: bool = True
    """Whether the run comes to an end; if not, it is recorded when nothing has changed for a while."""

    def body(self) -> dict:
        body = {"dag_run_id": self.run_id, "logical_date": self.logical_date}
        return body if self.conf is None else body | {"conf": self.conf}


@dataclass(frozen=True)
class Choice:
    """Tasks whose facts depend on what one branching task returned."""

    task_id: str
    returns: tuple[str, ...]
    decides: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """An asset event that a person reports: one `POST /api/v2/assets/events`."""

    asset: str
    extra: dict | None = None
    partition_key: str | None = None
    settle_seconds: float | None = None
    """How long to wait before the next step; by default until the scheduler has had time to make runs of it."""


@dataclass(frozen=True)
class Produce:
    """A run of another Dag, to its end."""

    dag_id: str
    conf: dict | None = None
    partition_key: str | None = None
    settle_seconds: float | None = None


@dataclass(frozen=True)
class Pause:
    """Pauses or un-pauses a Dag."""

    dag_id: str
    is_paused: bool = True
    settle_seconds: float = 1


@dataclass(frozen=True)
class Scenario:
    dag_id: str
    bundle: str = CONFORMANCE
    runs: tuple[Trigger, ...] = (Trigger(),)
    sequential: bool = True
    """Whether a run is triggered only when the one before has ended."""
    ordered: bool = False
    """Whether the order in which tasks started is part of the recording: where it is decided, not left to chance."""
    limited: bool = False
    """Whether the most tasks that ran at once is part of the recording."""
    parallelism: int | None = None
    """The limit on all tasks together. Such a scenario is played after all others, alone."""
    scheduled: bool = False
    """Nothing is triggered: the runs are those that the scheduler creates from the schedule."""
    steps: tuple[Event | Produce | Pause, ...] = ()
    """What happens to assets, for the runs that the scheduler creates of it; what they consumed, and what is left over,
    is part of the recording."""
    without_runs: bool = False
    """Of a scheduled one: no run is created at all."""
    of_today: str | None = None
    """The dates lie a day or so before the moment of recording, and are written in relation to its day in this time zone."""
    states_only: bool = False
    """The tasks answer by chance or by the clock: only how they end is part of the recording."""
    consumers: tuple[str, ...] = ()
    """Dags of which the scenario's run makes one run each, by an asset event or by triggering it."""
    choices: tuple[Choice, ...] = ()
    """The Dag branches at random: it is run until each choice was seen."""
    settle_seconds: float = 0
    timeout_seconds: float = 240


TWO_DAYS = (Trigger("first", FIRST_DAY), Trigger("second", "2026-01-02T00:00:00Z"))
