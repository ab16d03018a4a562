"""A request whose answer is recorded, and how tables of them are written down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from contract import Contract, Operation

NOBODY = "nobody"
DATE = "2026-01-05T00:00:00Z"
UNKNOWN = "unknown"
#: In an address, the cursors and the token of a file that the last answer to have one told.
NEXT, PREVIOUS, FILE_TOKEN = "$NEXT", "$PREVIOUS", "$FILE_TOKEN"
ROLES = ("op", "user", "viewer", NOBODY)


@dataclass(frozen=True)
class Case:
    """One request. `user` is one of `server.USERS`, or nobody."""

    method: str
    path: str
    query: str = ""
    body: object = None
    user: str = "admin"
    accept: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}" + (f"?{self.query}" if self.query else "")

    @property
    def changes(self) -> bool:
        """Whether rows are compared and undone."""
        return self.method != "GET"


def as_everyone(method: str, path: str, body: object = None, query: str = "") -> Iterator[Case]:
    """A request as everybody but the admin."""
    return (Case(method, path, query, body, user) for user in ROLES)


@dataclass(frozen=True)
class Reading:
    """A GET operation at example paths, from which its cases follow: every parameter the document declares with
    values that fit its type and one that does not, every order, wrong ids, and users with fewer rights."""

    template: str
    #: Values of the variables of the path, once for each example.
    examples: tuple[dict[str, object], ...] = ({},)
    #: Values of query parameters worth asking for, beside those that follow from their types.
    values: tuple[tuple[str, tuple], ...] = ()
    #: Parameters that every request has.
    always: tuple[tuple[str, object], ...] = ()

    def cases(self, contract: Contract) -> Iterator[Case]:
        operation = next(o for o in contract.operations if o.method == "GET" and o.template == self.template)
        examples = [self._path(example) for example in self.examples]
        for path in examples:
            yield self._case(path)
        first = examples[0]
        for user in (NOBODY, "viewer", "user", "op"):
            yield self._case(first, user=user)
        for name in self.examples[0]:
            yield self._case(self._path(self.examples[0] | {name: UNKNOWN}))
            if isinstance(self.examples[0][name], int):
                yield self._case(self._path(self.examples[0] | {name: 999_999}))
        given = dict(self.values)
        for parameter in operation.parameters("query"):
            for value in given.get(parameter["name"], ()) + tuple(values_of(parameter)):
                yield self._case(first, ((parameter["name"], value),))
        names = {parameter["name"] for parameter in operation.parameters("query")}
        if {"limit", "offset"} <= names:
            yield self._case(first, (("limit", 2), ("offset", 1)))
            yield self._case(first, (("limit", 0),))
        if {"limit", "order_by"} <= names and (orders := orders_of(operation)):
            yield self._case(first, (("order_by", f"-{orders[0]}"), ("limit", 1)))

    def _path(self, example: dict) -> str:
        return re.sub(r"\{(\w+)\}", lambda match: str(example[match.group(1)]), self.template)

    def _case(self, path: str, query: tuple = (), user: str = "admin") -> Case:
        asked = {name for name, _ in query}
        query = tuple(pair for pair in self.always if pair[0] not in asked) + query
        return Case("GET", path, urlencode(query, doseq=True), user=user)


def orders_of(operation: Operation) -> list[str]:
    """The attributes that a list can be ordered by, as the document tells them."""
    for parameter in operation.parameters("query"):
        if parameter["name"] == "order_by":
            found = re.search(r"Supported attributes: `([^`]*)`", parameter.get("description", ""))
            return [name.strip() for name in found.group(1).split(",")] if found else ["id"]
    return []


def values_of(parameter: dict) -> Iterator[object]:
    """Values that fit a parameter's type, and one that does not."""
    name, schema = parameter["name"], parameter["schema"]
    kinds = [schema, *schema.get("anyOf", ())]
    types = {kind.get("type") for kind in kinds}
    if name == "order_by":
        found = re.search(r"Supported attributes: `([^`]*)`", parameter.get("description", ""))
        attributes = [attribute.strip() for attribute in found.group(1).split(",")] if found else []
        yield from attributes
        yield from (f"-{attribute}" for attribute in attributes)
        yield attributes[:2]
        yield "nothing"
    elif any(kind.get("format") == "date-time" for kind in kinds):
        yield from (DATE, "2027-01-01T00:00:00+02:00", "no date")
    elif any(kind.get("enum") for kind in kinds):
        yield from (value for kind in kinds for value in kind.get("enum", ()))
        yield "wrong"
    elif "boolean" in types:
        yield from ("true", "false", "perhaps")
    elif types & {"integer", "number"}:
        yield from (0, 1, "-1", "many")
    elif name.endswith("prefix_pattern"):
        yield from ("o", "p", UNKNOWN)
    elif name.endswith(("_pattern", "_search")):
        yield from ("o", "%", "~", "_", "one | p", UNKNOWN)
    elif name == "cursor":
        yield from ("", "wrong")
    else:
        yield UNKNOWN
