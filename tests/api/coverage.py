"""The table of operations and how far they agree, as a page of the documentation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from contract import DOCUMENTS, Operation
from official import REPOSITORY

PAGE = REPOSITORY / "docs" / "api-coverage.md"
INTRODUCTION = """# How far the APIs agree

Written by `tests/api/replay.py`, which `make test` runs: every case is a request that official Airflow 3.3.2 answered
on the same data. A case agrees when status, headers, body and the rows that the call changed are the same. Every successful
answer is valid by the official OpenAPI document besides, or the test fails; seven operations whose document official Airflow
does not keep itself are named in `tests/api/contract.py`, with what is not kept.
"""


@dataclass
class Agreement:
    cases: int = 0
    agree: int = 0


def page(operations: list[Operation], agreement: dict[str, Agreement], reasons: Counter[str]) -> str:
    """The whole page, the same for the same outcome."""
    parts = [INTRODUCTION]
    for api in DOCUMENTS:
        mine = [operation for operation in operations if operation.api == api]
        found = [agreement.get(operation.name, Agreement()) for operation in mine]
        full = sum(one.cases == one.agree and one.cases > 0 for one in found)
        cases, agree = sum(one.cases for one in found), sum(one.agree for one in found)
        parts.append(
            f"\n## {api}\n\n{full} of {len(mine)} operations agree in every case; {agree} of {cases} cases agree.\n\n"
            "| operation | cases | agree | differ |\n|---|---|---|---|\n"
        )
        for operation, one in zip(mine, found, strict=True):
            differ = one.cases - one.agree
            parts.append(f"| `{operation.name}` | {one.cases} | {one.agree} | {differ or ''} |\n")
    if reasons:
        parts.append("\n## What differs\n\n| cases | reason |\n|---|---|\n")
        parts += [f"| {count} | {reason} |\n" for reason, count in sorted(reasons.items())]
    return "".join(parts)
