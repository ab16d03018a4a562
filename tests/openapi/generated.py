"""Requests that schemathesis makes from the official OpenAPI documents, asked of a running server.

    python tests/openapi/generated.py BASE_URL USER PASSWORD [--only TEXT] [--examples NUMBER] [--seed NUMBER]

No answer may be a server error or break the document: its status, content type, headers and body. The same seed makes
the same requests. Ends with 1 and a table of what was found, a request to repeat each included.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass, field

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import documents
from exceptions import reason_of
from resources import TIMEOUT_SECONDS, Resources, Server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: Whether the requests fit the document, and of how many examples.
MODES = ((schemathesis.GenerationMode.POSITIVE, 1.0), (schemathesis.GenerationMode.NEGATIVE, 0.5))


@dataclass
class Tally:
    """What came of the requests."""

    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    #: What is wrong, by operation and kind; the first request of each kind.
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    excused: dict[str, int] = field(default_factory=dict)


def substitute(value: object, ids: dict[str, object]) -> object:
    """Puts known ids where a body names things."""
    if isinstance(value, dict):
        return {
            name: ids[name] if name in ids and isinstance(inner, type(ids[name])) else substitute(inner, ids)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [substitute(inner, ids) for inner in value]
    return value


def point_at(case: schemathesis.Case, ids: dict[str, object]) -> None:
    """Lets a request be about things that exist."""
    for name in case.path_parameters or ():
        if name in ids:
            case.path_parameters[name] = ids[name]
    for name in list(case.query or ()):
        if name in ids:
            case.query[name] = ids[name]
    if isinstance(case.body, (dict, list)):
        case.body = substitute(case.body, ids)


def ask(server: Server, case: schemathesis.Case, tally: Tally) -> None:
    """Sends one request and judges its answer."""
    headers = {"Authorization": server.session.headers["Authorization"]}
    if case.path.endswith("/auth/logout"):
        headers["Authorization"] = server.authorization()
    tally.requests += 1
    label = f"{case.method} {case.path}"
    try:
        response = case.call(
            base_url=server.base_url,
            session=server.session,
            headers=headers,
            allow_redirects=False,
            timeout=TIMEOUT_SECONDS,
        )
    except Exception as error:  # A connection that breaks is a finding like any other.
        tally.failures.setdefault((label, type(error).__name__), f"{error}\n{case.as_curl_command()}")
        return
    tally.statuses[response.status_code] = tally.statuses.get(response.status_code, 0) + 1
    try:
        case.validate_response(response, checks=CHECKS)
    except FailureGroup as group:
        for failure in group.exceptions:
            if reason := reason_of(label, response.status_code, response.text):
                tally.excused[reason] = tally.excused.get(reason, 0) + 1
                continue
            kind = f"{response.status_code} {failure.title}"
            request = case.as_curl_command(base_url=server.base_url)
            shown = f"{failure.message[:600]}\nanswer: {response.text[:400]}\n{request[:1500]}"
            tally.failures.setdefault((label, kind), shown)


def try_operation(server: Server, resources: Resources, operation, options: argparse.Namespace, tally: Tally) -> None:
    """Sends the requests of one operation."""
    for mode, share in MODES:
        strategy = operation.as_strategy(generation_mode=mode)

        @hypothesis.seed(options.seed)
        @hypothesis.settings(
            max_examples=max(1, int(options.examples * share)),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=hypothesis.Verbosity.quiet,
        )
        @hypothesis.given(case=strategy, draw=strategies.integers(0, 2**16))
        def requests(case: schemathesis.Case, draw: int) -> None:
            # Two of three requests are about things that exist.
            if draw % 3:
                point_at(case, resources.some(random.Random(draw), case.path))
            ask(server, case, tally)

        try:
            requests()
        except Unsatisfiable:
            # Nothing can be wrong with an operation that takes nothing.
            pass


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url")
    parser.add_argument("user")
    parser.add_argument("password")
    parser.add_argument("--only", default="", help="operations whose name has this text")
    parser.add_argument("--examples", type=int, default=12, help="requests that fit the document, of each operation")
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--verbose", action="store_true", help="name every operation as it is done")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    server = Server(options.base_url, options.user, options.password)
    resources = Resources(server)
    configuration = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    operations = []
    for document in documents.load():
        schema = schemathesis.openapi.from_dict(document, config=configuration)
        operations += [operation.ok() for operation in schema.get_all_operations()]
    operations.sort(key=lambda operation: documents.order(operation.method, operation.path))
    tally, begin, asked = Tally(), time.monotonic(), 0
    for operation in operations:
        label = f"{operation.method.upper()} {operation.path}"
        if options.only not in label:
            continue
        before = time.monotonic(), tally.requests
        try_operation(server, resources, operation, options, tally)
        asked += 1
        if options.verbose:
            print(f"{time.monotonic() - before[0]:6.1f} s {tally.requests - before[1]:4} {label}", flush=True)
    for (label, kind), shown in sorted(tally.failures.items()):
        print(f"{label}: {kind}\n    " + shown.replace("\n", "\n    "))
    for reason, count in sorted(tally.excused.items()):
        print(f"{count:5} answers excused: {reason}")
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(tally.statuses.items()))
    print(f"{asked} operations, {tally.requests} requests in {time.monotonic() - begin:.0f} s ({statuses})")
    if tally.failures:
        sys.exit(f"{len(tally.failures)} kinds of answers break the documents")


if __name__ == "__main__":
    main()
