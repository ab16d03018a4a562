"""Plays the cases on a server with restored data, and answers what is to be compared."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import httpx
from case import FILE_TOKEN, NEXT, NOBODY, PREVIOUS, Case
from contract import Contract, Operation
from cryptography.fernet import Fernet
from data_set import DataSet, subject_module
from database import Tables, restore
from normalise import Normaliser
from server import FOLDER, RECORDED, USERS, write_passwords

HEADERS = ("content-type", "location", "www-authenticate")
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?")
TRACE = re.compile(r"\b00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]\b")
# By which the official server names an error in its log.
ERROR_ID = re.compile(r"(?<=look for ID )\w{8}\b")
# What is drawn for the id of a run for a partition, and to ask how a test of a connection went.
DRAWN = re.compile(r"(?<=\d__)[0-9A-Za-z]{8}$")
TEST_TOKEN = re.compile(r"^[\w-]{43}$")
ENCRYPTED = re.compile(r"^gAAAA[\w=-]+$")
# When the data was dumped, as the data tell.
LAST_MOMENT = """select greatest((select max(dttm) from log), (select max(last_parsed_time) from dag),
    (select max(updated_at) from dag_run), (select max(updated_at) from task_instance))"""
TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+")
# What stands for these of an answer before.
TOLD = {NEXT: "next_cursor", PREVIOUS: "previous_cursor", FILE_TOKEN: "file_token"}
# Columns of a row whose value depends on how fast the machine is.
MEASURED = {"duration"}


class Sameness:
    """Replaces what differs between two servers with the same data: paths, moments after the data was dumped, ids
    that were drawn since, and the random part of what is encrypted."""

    def __init__(self, server, began: datetime, dumped: str):
        self.paths = Normaliser(server, FOLDER)
        self.paths.replacements.append((str(server.home.parent), "${FOLDER}"))
        self.port = str(server.port)
        self.began = began
        self.ids = set(UUID.findall(dumped))
        self.dumped = dumped
        self.fernet = Fernet(server.environment()["AIRFLOW__CORE__FERNET_KEY"])

    def _moment(self, match: re.Match) -> str:
        text = match.group(0)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return text
        return "${NOW}" if moment.replace(tzinfo=timezone.utc) >= self.began else text

    def text(self, value: str) -> str:
        if value == self.port:
            return "${PORT}"
        if ENCRYPTED.match(value):
            return "${FERNET}" + self.fernet.decrypt(value.encode()).decode()
        if TEST_TOKEN.match(value):
            return "${TEST_TOKEN}"
        value = DRAWN.sub(lambda match: match.group(0) if match.group(0) in self.dumped else "${DRAWN}", value)
        value = TOKEN.sub("${TOKEN}", ERROR_ID.sub("${ERROR}", value))
        value = TRACE.sub("${TRACE}", MOMENT.sub(self._moment, self.paths.text(value)))
        return UUID.sub(lambda match: match.group(0) if match.group(0) in self.ids else "${UUID}", value)

    def __call__(self, value, name: str = ""):
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            found = {self.text(key): self(inner, key) for key, inner in value.items()}
            # A run of the grid that runs has no `end_date`, elsewhere it is null.
            runs = found.get("state") == "running" and "run_type" in found
            ends = found.get("end_date", None if runs else "unknown")
            ends_now = "${NOW}" in (ends, found.get("start_date")) or not ends
            return {
                key: "${MEASURED}" if ends_now and key in MEASURED and inner is not None else inner
                for key, inner in found.items()
            }
        if isinstance(value, list):
            return [self(inner) for inner in value]
        if isinstance(value, float) and name == "timestamp" and value >= self.began.timestamp():
            return "${NOW}"
        return value


class Session:
    def __init__(self, server, data: DataSet):
        self.server = server
        self.data = data
        self.contract = Contract()
        self.tokens: dict[str, str] = {}
        self.told: dict = {}
        self.judged: dict[tuple, dict] = {}
        self.client = self._connect()

    def _connect(self) -> httpx.Client:
        return httpx.Client(base_url=self.server.base_url, timeout=60)

    def start(self) -> None:
        server = self.server
        server.home.mkdir(parents=True)
        write_passwords(server)
        if self.data.logs:
            shutil.copytree(self.data.recorded / "logs", server.home / "logs")
        server.postgres.start()
        restore(server.postgres, self.data.dump)
        server.adopt()
        self.connection = server.postgres.connect()
        self.tables = Tables(self.connection)
        server.serve()
        self.tables.undo(["log"])  # the official server notes its own start
        (last,) = self.connection.execute(LAST_MOMENT).fetchone()
        self.same = Sameness(server, last + timedelta(milliseconds=1), gzip.decompress(self.data.dump.read_bytes()).decode())
        for user in USERS:
            self._log_in(user)

    def _log_in(self, user: str) -> None:
        answer = self.client.post("/auth/token", json={"username": user, "password": user})
        self.tokens[user] = answer.raise_for_status().json()["access_token"]

    def play(self, only: list[str] | None) -> Iterator[tuple[str, list[dict]]]:
        """Starts the server; by subject, the cases with their answers."""
        self.start()
        for subject in asked(self.data, only):
            self.judged.clear()
            yield subject, [self.ask(case) for case in cases(subject, self.contract)]

    def ask(self, case: Case) -> dict:
        headers = {"Accept": case.accept, **dict(case.headers)}
        if case.user != NOBODY:
            headers["Authorization"] = f"Bearer {self.tokens[case.user]}"
        url = self._followed(case.path + (f"?{case.query}" if case.query else ""))
        sent = {"content": case.body} if isinstance(case.body, bytes) else {"json": case.body}
        if case.body is None:
            sent = {}
        if isinstance(case.body, bytes):
            headers["Content-Type"] = "application/json"
        try:
            answer = self.client.request(case.method, url, headers=headers, **sent)
        except httpx.HTTPError:  # the official server drops the connection after an error of its own
            self.client = self._connect()
            answer = self.client.request(case.method, url, headers=headers, **sent)
        self.client.cookies.clear()
        if case.path.endswith("/logout") and case.user != NOBODY:
            self._log_in(case.user)  # the token is revoked
        media_type = answer.headers.get("content-type", "").split(";")[0]
        body = answer.json() if media_type == "application/json" and answer.content else answer.text
        if isinstance(body, dict):
            self.told |= {key: body[key] for key in TOLD.values() if key in body}
        operation = self.contract.find(case.method, case.path)
        found = {
            "request": {"method": case.method, "path": case.path, "query": case.query, "user": case.user}
            | ({} if case.body is None else {"body": case.body if not isinstance(case.body, bytes) else "bytes"})
            | ({"headers": dict(case.headers)} if case.headers else {}),
            "operation": operation.name,
            "status": answer.status_code,
            "headers": self.same({name: answer.headers[name] for name in HEADERS if name in answer.headers}),
            **self._judged(operation, answer, media_type, body),
        }
        if case.changes:
            found["rows"] = self._changes()
        return found

    def _judged(self, operation: Operation, answer: httpx.Response, media_type: str, body) -> dict:
        """The body without what differs, and whether the document allows it. Many answers are alike: each is looked at once."""
        key = (operation.name, answer.status_code, media_type, answer.content)
        if key not in self.judged:
            error = operation.schema_error(answer.status_code, media_type, body)
            invalid = operation.why_invalid(answer.status_code, media_type, body, error)
            self.judged[key] = {"body": self.same(body), "schema": error, "invalid": invalid}
        return dict(self.judged[key])

    def _followed(self, address: str) -> str:
        """The address with what answers told in the places of its names."""
        for name, key in TOLD.items():
            if name in address:
                address = address.replace(name, quote(self.told.get(key) or ""))
        return address

    def _changes(self) -> dict:
        time.sleep(self.server.commits_within_seconds)
        changes = self.tables.changes()
        if changes:
            self.tables.undo(changes)
        by_text = {"key": lambda row: json.dumps(row, sort_keys=True)}
        return {
            table: {kind: sorted(self.same(self._readable(rows)), **by_text) for kind, rows in kinds.items()}
            for table, kinds in changes.items()
        }

    def _readable(self, rows: list[dict]) -> list[dict]:
        """Rows with JSON that is stored as text read, and without the user whom the server runs as."""
        return [
            {
                name: _json(value) if name == "extra" and isinstance(value, str) else value
                for name, value in row.items()
                if name != "unixname"
            }
            for row in rows
        ]


def _json(text: str):
    try:
        return json.loads(text)
    except ValueError:
        return text


def asked(data: DataSet, only: list[str] | None) -> list[str]:
    """The subjects about a set of data, or those of them that are named."""
    return [subject for subject in data.subjects() if not only or subject in only]


def cases(subject: str, contract: Contract) -> list[Case]:
    """The cases of one module of `cases/`, each once."""
    module = subject_module(subject)
    found = [case for reading in getattr(module, "READINGS", ()) for case in reading.cases(contract)]
    found += getattr(module, "CHANGES", ())
    return list({repr(case): case for case in found}.values())


def label(request: dict) -> str:
    """What names a case in `known_differences.json`."""
    body = f" {json.dumps(request['body'], sort_keys=True)}" if "body" in request else ""
    query = f"?{request['query']}" if request["query"] else ""
    user = "" if request["user"] == "admin" else f" as {request['user']}"
    headers = "".join(f" {name}={value}" for name, value in request.get("headers", {}).items())
    return f"{request['method']} {request['path']}{query}{body}{headers}{user}"


def _file(subject: str) -> Path:
    return RECORDED / "answers" / f"{subject}.json"


def write_recording(subject: str, found: list[dict]) -> None:
    """A case a line, so that a difference shows which. Of equal bodies the first is written, the others name it."""
    first: dict[str, int] = {}
    lines = []
    for number, case in enumerate(found):
        case.pop("invalid", None)
        body = json.dumps(case["body"], sort_keys=True)
        if (same := first.setdefault(body, number)) != number:
            case = {key: value for key, value in case.items() if key != "body"} | {"body_of": same}
        lines.append(json.dumps(case, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
    path = _file(subject)
    path.parent.mkdir(exist_ok=True)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def read_recording(subject: str) -> list[dict]:
    """The answers as they were given to `write_recording`."""
    cases = json.loads(_file(subject).read_text())
    for case in cases:
        if (same := case.pop("body_of", None)) is not None:
            case["body"] = cases[same]["body"]
    return cases
