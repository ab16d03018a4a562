"""Which Dags are run: a module a subject, named as the file in `dags/` that holds the Dags, with a list `SCENARIOS`."""

from __future__ import annotations

import importlib
import pkgutil

from scenario import Scenario

BY_SUBJECT: dict[str, list[Scenario]] = {
    module.name: importlib.import_module(f"{__name__}.{module.name}").SCENARIOS
    for module in pkgutil.iter_modules(__path__)
}
SCENARIOS = [scenario for scenarios in BY_SUBJECT.values() for scenario in scenarios]


def chosen(dag_ids: list[str] | None, subjects: list[str] | None) -> list[Scenario]:
    """The scenarios of some Dags and subjects; all of them if none is named. A name that nothing has is an error."""
    if not dag_ids and not subjects:
        return SCENARIOS
    unknown = {*(subjects or ())} - {*BY_SUBJECT} | {*(dag_ids or ())} - {scenario.dag_id for scenario in SCENARIOS}
    if unknown:
        raise SystemExit(f"no scenario of this name: {', '.join(sorted(unknown))}")
    return [
        scenario
        for subject, scenarios in BY_SUBJECT.items()
        for scenario in scenarios
        if subject in (subjects or ()) or scenario.dag_id in (dag_ids or ())
    ]
