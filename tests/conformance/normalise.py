"""What differs between two machines or two moments is replaced by a name, so that recordings compare byte by byte."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from pathlib import Path

from official import VENV, Official, airflow_package

UTC = timezone.utc


class Normaliser:
    """Replaces absolute paths by `${AIRFLOW}`, `${AIRFLOW_HOME}`, `${CONFORMANCE}`, `${PYTHON}` and `${VENV}`, the
    address of the server by `${BASE_URL}`, and moments since the recording began by `${NOW}`."""

    def __init__(self, official: Official, conformance: Path):
        self.began = datetime.now(UTC)
        # Longest first in meaning, too: the interpreter and the package lie inside the environment.
        self.replacements = [
            (str(airflow_package()), "${AIRFLOW}"),
            (str(official.home), "${AIRFLOW_HOME}"),
            (str(conformance), "${CONFORMANCE}"),
            (str(VENV / "bin" / "python"), "${PYTHON}"),
            (sys.executable, "${PYTHON}"),
            (str(VENV), "${VENV}"),
            (official.base_url, "${BASE_URL}"),
        ]

    def text(self, value: str) -> str:
        for path, name in self.replacements:
            value = value.replace(path, name)
        return value

    def __call__(self, value):
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self(inner) for inner in value]
        if isinstance(value, datetime):
            return "${NOW}" if value >= self.began else value.isoformat()
        return value


def write(path: Path, value) -> None:
    """Stable JSON: sorted keys, one value a line, a newline at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
