"""The data that the recorded answers are about: each set is a database of its own, with the Dags that filled it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path

from server import FOLDER, RECORDED


@dataclass(frozen=True)
class DataSet:
    name: str
    #: Its bundles, and their folders below that of its Dags.
    bundles: dict[str, str]
    #: Folders of logs that are recorded, too.
    logs: tuple[str, ...] = ()
    #: Options beside those of all sets.
    options: dict[str, str] = field(default_factory=dict)

    @property
    def dags(self) -> Path:
        return FOLDER / "dags" / self.name

    @property
    def recorded(self) -> Path:
        return RECORDED / self.name

    @property
    def dump(self) -> Path:
        return self.recorded / "database.sql.gz"

    def subjects(self) -> list[str]:
        """The modules of `cases/` that ask about this set: `DATA` of a module names it."""
        return [name for name in SUBJECTS if getattr(subject_module(name), "DATA", SHOP.name) == self.name]


SUBJECTS = sorted(path.stem for path in (FOLDER / "cases").glob("*.py"))
SHOP = DataSet("shop", {"recorded": "."}, logs=("dag_id=pipeline", "dag_id=outcomes"))
CORNERS = DataSet(
    "corners", {"front": "front", "back": "back"}, options={"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"}
)
DATA_SETS = (SHOP, CORNERS)


def subject_module(name: str):
    return importlib.import_module(f"cases.{name}")
