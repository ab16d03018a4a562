"""Bad input for every operation of both APIs, made from the official OpenAPI documents.

    python tests/openapi/bad_input.py BASE_URL USER PASSWORD [--only TEXT]

Whatever is sent, the answer is soon there and no server error; what must be refused is refused as Airflow refuses, with
a JSON object that has `detail`; and no list is longer than `[api] maximum_page_limit`. Ends with 1 and a table of what
was found.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from documents import Operation, operations
from resources import Resources, Server

TIMEOUT_SECONDS = 20
#: No answer may take longer, on a machine with much else to do; the large bodies included.
SLOW_SECONDS = 5.0
#: So many lists at least are longer than a page in the data that the tests come with.
LONG_LISTS = 12
#: What `many.sql` has made many parts of.
LONG = {"dag_id": "example_xcom", "dag_run_id": "one"}
#: `[api] maximum_page_limit` as Airflow has it.
MAXIMUM_PAGE_LIMIT = 100
LARGE_BODY_BYTES = 10 * 2**20

SQL = "'; DROP TABLE dag; -- \" OR 1=1 \\"
PATH = "../../../../etc/passwd"
#: Texts that mean something to a database, a file system, a template or a decoder. Undecodable ones are bytes.
TEXTS: dict[str, str | bytes] = {
    "SQL": SQL,
    "a path": PATH,
    "a NUL byte": "a\0b",
    "no UTF-8": b"\xff\xfe\xc3",
    "10,000 characters": "x" * 10_000,
    "patterns": "%_" * 200 + "\\",
    "5,000 alternatives": "a|" * 5_000,
    "format strings": "{0} ${HOME} %s {{ x }} \u202e\U0001f600\r\nX-Header: 1",
}
HUGE = "9" * 30
#: Values that are no number, and numbers that no column holds.
NUMBERS = {"a word": "many", "a huge number": HUGE, "a fraction": "1.5", "SQL": "1; DROP TABLE dag", "nothing": ""}
TIMES = {"a word": "yesterday", "no day": "2026-02-30T00:00:00Z", "SQL": SQL, "a NUL byte": "2026-01-01\0"}
FAR_TIMES = {"the year 0": "0000-01-01T00:00:00Z", "the year 99999": "99999-01-01T00:00:00Z", "a huge number": HUGE}
#: JSON of other kinds than the field's.
KINDS = {"an object": {"a": 1}, "a list": [[1]], "a number": 1.5, "a word": "many", "true": True}


@dataclass(frozen=True)
class Request:
    """One request, and whether it must be refused."""

    what: str
    path: str
    body: bytes | None = None
    content_type: str = "application/json"
    must_refuse: bool = False


def encoded(value: object) -> str:
    """A value as a part of a URL."""
    return quote(value if isinstance(value, bytes) else str(value), safe="")


class Inputs:
    """Makes the requests of one operation."""

    def __init__(self, operation: Operation, resources: Resources, chance: random.Random):
        self.operation = operation
        self.ids = resources.some(chance, operation.template)
        body = operation.body()
        self.body_schema = None if body is None else self.alternatives(body)[0]

    def requests(self) -> Iterator[Request]:
        yield from self._in_path()
        yield from self._in_query()
        if self.body_schema is not None:
            yield from self._whole_bodies()
            yield from self._in_body()

    def alternatives(self, schema: dict) -> list[dict]:
        """The schemas that a value may have, null left out."""
        schema = self.operation.resolved(schema)
        found = [self.operation.resolved(kind) for kind in schema.get("anyOf", schema.get("oneOf", [schema]))]
        return [kind for kind in found if kind.get("type") != "null"]

    def path(self, **values: object) -> str:
        parts = self.operation.template.split("/")
        names = (part.strip("{}") if part.startswith("{") else None for part in parts)
        ids = self.ids | values
        return "/".join(part if name is None else encoded(ids.get(name, "1")) for part, name in zip(parts, names))

    def _with(self, what: str, path: str, must_refuse: bool = False, **query: object) -> Request:
        """A request whose body, if there is one, is right."""
        body = None if self.body_schema is None else json.dumps(self.example(self.body_schema)).encode()
        query = self._required_query() | query
        text = "?" + urlencode(query, doseq=True) if query else ""
        return Request(what, path + text, body, must_refuse=must_refuse)

    def _required_query(self) -> dict:
        required = (parameter for parameter in self.operation.parameters("query") if parameter.get("required"))
        return {parameter["name"]: self.ids.get(parameter["name"], "1") for parameter in required}

    def _in_path(self) -> Iterator[Request]:
        for parameter in self.operation.parameters("path"):
            name = parameter["name"]
            is_number = self.alternatives(parameter["schema"])[0].get("type") == "integer"
            for what, text in (NUMBERS | TEXTS if is_number else TEXTS).items():
                if text != "":
                    yield self._with(f"path {name}: {what}", self.path(**{name: text}), must_refuse=is_number)
            unknown = 2_000_000_000 if is_number else "unknown"
            is_last = self.operation.template.endswith(f"{{{name}}}") and self.operation.method == "get"
            # A stream tells what there is of each run.
            must_refuse = is_last and "/ti_summaries/" not in self.operation.template
            yield self._with(f"path {name}: unknown", self.path(**{name: unknown}), must_refuse)

    def _in_query(self) -> Iterator[Request]:
        for parameter in self.operation.parameters("query"):
            name, kinds = parameter["name"], self.alternatives(parameter["schema"])
            for what, value, must_refuse in self._bad_values(kinds):
                yield self._with(f"query {name}: {what}", self.path(), must_refuse, **{name: value})
        names = {parameter["name"] for parameter in self.operation.parameters("query")}
        for page in ({"limit": 10**9}, {"limit": 2**63 - 1, "offset": 2**63 - 1}, {"limit": 1, "offset": 10**15}):
            if page.keys() <= names:
                yield self._with(f"deep paging {page}", self.path(**LONG), **page)
        if "cursor" in names:
            for cursor in ("~", "e30", "W10", "bnVsbA", "WyIxIiwgIjIiLCAiMyJd", "~WzFd"):
                yield self._with(f"cursor {cursor}", self.path(), cursor=cursor)
        if "order_by" in names:
            yield self._with("order_by: 1,000 names", self.path(), True, order_by=["id"] * 1000)
            yield self._with("order_by: SQL", self.path(), True, order_by=SQL)

    def _bad_values(self, kinds: list[dict]) -> Iterator[tuple[str, object, bool]]:
        """Values of a query parameter, and whether they must be refused."""
        kind, form = kinds[0].get("type"), kinds[0].get("format")
        if any("enum" in kind for kind in kinds):
            yield "no such word", "wrong", True
        elif form in ("date-time", "date"):
            yield from ((what, text, True) for what, text in TIMES.items())
            yield from ((what, text, False) for what, text in FAR_TIMES.items())
        elif kind == "boolean":
            yield "no truth value", "perhaps", True
        elif kind == "integer":
            # Airflow's integers have no end where a filter compares them, so a huge one may find nothing.
            yield from ((what, text, what in ("a word", "SQL")) for what, text in NUMBERS.items())
            yield "a negative number", -(2**63), False
        elif kind == "number":
            for what, text in {"a word": "many", "no number": "nan", "infinity": "1e400"}.items():
                yield what, text, what == "a word"
        elif kind == "array":
            yield from ((what, [text, text], False) for what, text in TEXTS.items() if what != "10,000 characters")
            yield "1,000 values", ["1"] * 1000, False
        else:
            yield from ((what, text, False) for what, text in TEXTS.items())

    def _whole_bodies(self) -> Iterator[Request]:
        right = json.dumps(self.example(self.body_schema)).encode()
        deep = b"[" * 100_000 + b"]" * 100_000
        junk = {
            "no JSON": b"{no JSON",
            "cut JSON": right[:-1],
            "no UTF-8": b'{"a": "\xff\xfe"}',
            "a list": b"[1, 2]",
            "a text": b'"text"',
            "a number": b"17",
            "deep JSON": deep,
            "10 MB of junk": b"x" * LARGE_BODY_BYTES,
            "10 MB of lists": b"[" + b"[]," * (LARGE_BODY_BYTES // 3) + b"[]]",
            "10 MB of text": json.dumps({"unknown": "x" * LARGE_BODY_BYTES}).encode(),
            "10 MB of fields": json.dumps({f"unknown{i}": i for i in range(500_000)}).encode(),
        }
        optional = not self.operation.definition["requestBody"].get("required")
        for what, body in junk.items():
            lenient = what.startswith("10 MB of") and self._ignores_unknown_fields() and "{" in body[:1].decode()
            yield Request(f"body: {what}", self.path(), body, must_refuse=not lenient)
        yield Request("body: nothing", self.path(), b"", must_refuse=not optional)
        yield Request("body: null", self.path(), b"null", must_refuse=not optional)
        for content_type in ("text/plain", "application/xml", "application/x-www-form-urlencoded", ""):
            yield Request(f"content type {content_type!r}", self.path(), right, content_type, must_refuse=True)

    def _ignores_unknown_fields(self) -> bool:
        return self.body_schema.get("additionalProperties") is not False

    def _in_body(self) -> Iterator[Request]:
        example = self.example(self.body_schema)
        for name, schema in self.body_schema.get("properties", {}).items():
            kinds = self.alternatives(schema)
            for what, value, must_refuse in self._bad_fields(kinds):
                body = json.dumps(example | {name: value}).encode()
                yield Request(f"body {name}: {what}", self.path(), body, must_refuse=must_refuse)
            body = json.dumps(example | {name: None}).encode()
            yield Request(f"body {name}: null", self.path(), body, must_refuse=not self._takes_null(schema))
        for name in self.body_schema.get("required", ()):
            body = json.dumps({other: value for other, value in example.items() if other != name}).encode()
            yield Request(f"body {name}: missing", self.path(), body, must_refuse=True)

    def _takes_null(self, schema: dict) -> bool:
        schema = self.operation.resolved(schema)
        kinds = [self.operation.resolved(kind) for kind in schema.get("anyOf", schema.get("oneOf", [schema]))]
        return any(kind.get("type", "null") == "null" and not kind.keys() & {"enum", "const"} for kind in kinds)

    def _bad_fields(self, kinds: list[dict]) -> Iterator[tuple[str, object, bool]]:
        """Values of a field of a body, and whether they must be refused."""
        types = {kind.get("type") for kind in kinds}
        anything = None in types
        expected = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict}
        fitting = tuple(expected[name] for name in types if name in expected)
        for what, value in KINDS.items():
            # pydantic reads truth values as numbers, and some texts and numbers as truth values.
            convertible = anything or isinstance(value, fitting) or (value is True and types & {"integer", "number"})
            yield what, value, not convertible and not isinstance(value, float) and "array" not in types
        yield "a huge number", int(HUGE), not anything and types == {"array"}
        if "string" in types or anything:
            is_word = any("enum" in kind or kind.get("format") for kind in kinds)
            for what, text in TEXTS.items():
                if isinstance(text, str):
                    yield what, text, is_word
        if "array" in types:
            for what, text in TEXTS.items():
                if isinstance(text, str):
                    yield f"a list of {what}", [text], False
            yield "a list of objects", [{}], False
            yield "a list of nulls", [None], False
        if "object" in types or anything:
            yield "a NUL byte within", {"a\0": ["b\0", {"c": "\0"}]}, False
            yield "lone surrogates within", {"a": "\ud800"}, False

    def example(self, schema: dict, name: str = "") -> object:
        """A value that fits a schema: what must be there."""
        schema = self.alternatives(schema)[0]
        if name in self.ids:
            return self.ids[name]
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        match schema.get("type"):
            case "object":
                properties = schema.get("properties", {})
                return {name: self.example(properties[name], name) for name in schema.get("required", ())}
            case "array":
                return [self.example(schema["items"], name.removesuffix("s"))] if "items" in schema else []
            case "integer" | "number":
                return 1
            case "boolean":
                return False
            case "string" if schema.get("format") == "date-time":
                return "2026-11-01T00:00:00Z"
        return "text"


@dataclass
class Findings:
    """What is wrong, by operation and kind, with the first request of each kind and how many there are."""

    asked: int = 0
    #: Operations that had more to tell than goes on a page.
    cut: set[str] = field(default_factory=set)
    statuses: Counter = field(default_factory=Counter)
    found: dict[tuple[str, str], list] = field(default_factory=dict)

    def add(self, operation: Operation, what: str, request: Request, answer: str) -> None:
        entry = self.found.setdefault((operation.name, what), [0, request.what, request.path, answer])
        entry[0] += 1


class Connection:
    """Sends requests exactly as they are written: other clients would tidy them up."""

    def __init__(self, server: Server):
        host, _, port = server.base_url.removeprefix("http://").partition(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_SECONDS)
        self.server = server

    def answer(self, operation: Operation, request: Request) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""
        headers = {"Authorization": self.server.session.headers["Authorization"]}
        if operation.template.endswith("/auth/logout"):
            headers["Authorization"] = self.server.authorization()
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        try:
            self.connection.request(operation.method.upper(), request.path, request.body, headers)
            answer = self.connection.getresponse()
            return answer.status, answer.headers.get_content_type(), answer.read()
        except Exception:
            self.connection.close()
            raise


def longest_list(body: bytes) -> int:
    """The length of the list that an answer consists of."""
    value = json.loads(body)
    if isinstance(value, list):
        return len(value)
    if isinstance(value, dict):
        return max((len(inner) for inner in value.values() if isinstance(inner, list)), default=0)
    return 0


def is_refusal(body: bytes) -> bool:
    """Whether a body is what Airflow sends with a refusal: `detail`, a text, an object, or a list of problems."""
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    detail = answer.get("detail") if isinstance(answer, dict) else None
    if isinstance(detail, list):
        return bool(detail) and all(isinstance(item, str) or {"type", "loc", "msg"} <= item.keys() for item in detail)
    return isinstance(detail, (str, dict))


def judge(operation: Operation, request: Request, answer: tuple[int, str, bytes], seconds: float) -> Iterator[str]:
    """What is wrong with an answer."""
    status, content_type, body = answer
    if status >= 500:
        yield f"{status}"
    elif status >= 400:
        if content_type != "application/json" or not is_refusal(body):
            yield f"{status} that is not in Airflow's shape"
    elif request.must_refuse:
        yield f"{status}: not refused"
    elif request.what.startswith(("deep paging", "query limit")) and body:
        length = longest_list(body)
        if length > MAXIMUM_PAGE_LIMIT:
            yield f"a list of {length}"
    if seconds > SLOW_SECONDS:
        yield "slow"


def ask(connection: Connection, operation: Operation, request: Request, findings: Findings) -> None:
    begin = time.monotonic()
    findings.asked += 1
    try:
        answer = connection.answer(operation, request)
    except (OSError, http.client.HTTPException) as error:
        findings.add(operation, f"no answer: {type(error).__name__}", request, str(error))
        return
    findings.statuses[answer[0]] += 1
    if answer[0] == 200 and request.what.startswith("deep paging") and longest_list(answer[2]) == MAXIMUM_PAGE_LIMIT:
        findings.cut.add(operation.name)
    for what in judge(operation, request, answer, time.monotonic() - begin):
        findings.add(operation, what, request, answer[2][:300].decode(errors="replace"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url")
    parser.add_argument("user")
    parser.add_argument("password")
    parser.add_argument("--only", default="", help="operations whose name has this text")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    server = Server(options.base_url, options.user, options.password)
    resources, connection = Resources(server), Connection(server)
    findings, begin, asked = Findings(), time.monotonic(), 0
    for operation in operations():
        if options.only not in operation.name:
            continue
        asked += 1
        for request in Inputs(operation, resources, random.Random(options.seed)).requests():
            ask(connection, operation, request, findings)
    for (name, what), (count, first, path, answer) in sorted(findings.found.items()):
        print(f"{count:4} {name}: {what}\n       {first}\n       {path[:300]}\n       {answer[:300]}")
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(findings.statuses.items()))
    print(f"{asked} operations, {findings.asked} requests in {time.monotonic() - begin:.0f} s ({statuses})")
    print(f"{len(findings.cut)} lists were cut at {MAXIMUM_PAGE_LIMIT}: {', '.join(sorted(findings.cut))}")
    if findings.found:
        sys.exit(f"{len(findings.found)} kinds of answers are wrong")
    if not options.only and len(findings.cut) < LONG_LISTS:
        sys.exit(f"no more than {len(findings.cut)} lists are longer than a page, too few to tell that lists are cut")


if __name__ == "__main__":
    main()
