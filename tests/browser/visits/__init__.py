"""Visits to the pages of the official UI: each opens some, uses them, and checks that they show what is true.

They come in an order in which each finds what it needs; what one changes, it changes back, or no later one looks at it.
"""

from __future__ import annotations

from collections.abc import Callable

from visitor import Visitor

Visit = Callable[[Visitor], None]
VISITS: list[tuple[str, Visit]] = []


def visit(name: str) -> Callable[[Visit], Visit]:
    """Adds a function to the visits; `name` says which page it is about."""

    def add(function: Visit) -> Visit:
        VISITS.append((name, function))
        return function

    return add


# Importing them adds their visits, in this order.
from visits import dags, runs, task_instances, assets, partitions, actions, administration, rarities, plugins, roles, appearance  # noqa: E402, F401, I001
