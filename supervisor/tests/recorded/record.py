#!/usr/bin/env python3
"""Records what the official supervisor answers, and what it leaves in the metadata database.

    TRADEWIND_TEST_POSTGRES=postgresql+psycopg2://… .venv/bin/python supervisor/tests/recorded/record.py [NAME…]

Every `conversations/NAME.json` is a list of steps. Each conversation runs on a fresh clone of the template database,
filled by `scenario.sql`; the steps go through `ActivitySubprocess.handle_requests` to the Execution API in this
process. The answer and the rows that came and went are written back into the file.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import uuid

HERE = pathlib.Path(__file__).parent
FERNET_KEY = "cFl3tZ3pXqv6c7mA1Zr1c2qS0l5r8y4Wm9b2X0n7k1E="
ATTEMPT = "00000000-0000-7000-8000-000000000{}"


def main(names: list[str]) -> None:
    import sqlalchemy

    server = sqlalchemy.engine.make_url(os.environ["TRADEWIND_TEST_POSTGRES"])
    engine = sqlalchemy.create_engine(server.set(database="postgres"), isolation_level="AUTOCOMMIT")
    for path in sorted((HERE / "conversations").glob("*.json")):
        if names and path.stem not in names:
            continue
        database = f"recorded_{uuid.uuid4().hex}"
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {database} TEMPLATE airflow"))
        try:
            with tempfile.TemporaryDirectory() as home:
                environment = os.environ | {
                    "AIRFLOW_HOME": home,
                    "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY,
                    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                    "AIRFLOW__CORE__NUM_DAG_RUNS_TO_RETAIN_RENDERED_FIELDS": "2",
                    "AIRFLOW__CORE__MAX_MAP_LENGTH": "10",
                    "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
                    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.set(database=database).render_as_string(False),
                }
                subprocess.run([sys.executable, __file__, "--conversation", path], env=environment, check=True)
        finally:
            with engine.connect() as connection:
                connection.execute(sqlalchemy.text(f"DROP DATABASE {database} WITH (FORCE)"))


def converse(path: pathlib.Path) -> None:
    """Runs one conversation on the configured database."""
    from airflow import settings

    settings.configure_orm()
    fill(settings.engine)
    supervisor = Supervisor(settings.engine)
    steps = json.loads(path.read_text())
    before = facts(settings.engine)
    for step in steps:
        step |= supervisor.take(step)
        after = facts(settings.engine)
        step["changes"] = changes(before, after)
        before = after
    path.write_text(json.dumps(steps, indent=2, default=as_json, ensure_ascii=False) + "\n")
    print(path.stem, len(steps), "steps")


def fill(engine) -> None:
    from cryptography.fernet import Fernet

    def encrypt(text: str, key: str | bytes = FERNET_KEY) -> str:
        return Fernet(key).encrypt(text.encode()).decode()

    statements = (HERE / "scenario.sql").read_text()
    for name, value in {
        "@password@": encrypt("s3cr:t"),
        "@extra@": encrypt('{"sslmode": "require"}'),
        "@variable@": encrypt("värde"),
        "@foreign@": encrypt("lost", Fernet.generate_key()),
    }.items():
        statements = statements.replace(name, value)
    with engine.begin() as connection:
        connection.exec_driver_sql(statements.replace("%", "%%"))


def facts(engine) -> dict:
    with engine.connect() as connection:
        found = connection.exec_driver_sql((HERE / "facts.sql").read_text().replace("%", "%%")).scalar_one()
    return {table: rows or [] for table, rows in found.items()}


def changes(before: dict, after: dict) -> dict:
    """Rows that went and came, by table; tables without a change are left out."""
    found = {}
    for table, rows in after.items():
        went = [row for row in before[table] if row not in rows]
        came = [row for row in rows if row not in before[table]]
        if went or came:
            found[table] = {"went": went, "came": came}
    return found


class Supervisor:
    """The official supervisor of a task, without a child."""

    def __init__(self, engine) -> None:
        import structlog
        from airflow.api_fastapi.execution_api.datamodels.token import TIClaims, TIToken
        from airflow.api_fastapi.execution_api.security import _jwt_bearer
        from airflow.sdk.api import client
        from airflow.sdk.execution_time.supervisor import (
            ActivitySubprocess,
            InProcessTestSupervisor,
            in_process_api_server,
        )

        client.get_hostname = lambda: "worker-1"
        client.getuser = lambda: "airflow"
        recorder = self

        class Recorded(ActivitySubprocess):
            def send_msg(self, msg, request_id, error=None, **dump_opts):
                recorder.sent = {
                    "answer": msg.model_dump(**dump_opts) if msg else None,
                    "error": error.model_dump() if error else None,
                }

        api = in_process_api_server()
        self.client = InProcessTestSupervisor._api_client()
        api.app.dependency_overrides[_jwt_bearer] = lambda: TIToken(id=self.attempt, claims=TIClaims(scope="execution"))
        self.process = object.__new__(Recorded)
        self.process.client = self.client
        self.process._rendered_map_index = self.process._subprocess_schema_version = None
        self.log = structlog.get_logger()
        self.sent = None
        self.attempt = None

    def take(self, step: dict) -> dict:
        self.attempt = self.process.id = uuid.UUID(ATTEMPT.format(step["attempt"]))
        if "request" in step:
            return self.request(step["request"])
        try:
            return {"answer": self.call(step), "error": None}
        except Exception as error:
            response = getattr(error, "response", None)
            if response is None:
                response = error.__cause__.response
            return {"answer": None, "error": {"status_code": response.status_code, "detail": response.json()}}

    def call(self, step: dict):
        operations = self.client.task_instances
        date = datetime.datetime.fromisoformat
        if start := step.get("start"):
            return operations.start(self.attempt, start["pid"], date(start["start_date"])).model_dump()
        if heartbeat := step.get("heartbeat"):
            return operations.heartbeat(self.attempt, heartbeat["pid"])
        finish = step["finish"]
        return operations.finish(
            self.attempt, finish["state"], date(finish["end_date"]), finish.get("rendered_map_index")
        )

    def request(self, body: dict) -> dict:
        from airflow.sdk.execution_time.comms import _RequestFrame

        body = json.loads(json.dumps(body).replace("@attempt@", str(self.attempt)))
        requests = self.process.handle_requests(self.log)
        next(requests)
        self.sent = None
        requests.send(_RequestFrame(id=1, body=body))
        if self.sent is None:
            raise RuntimeError(f"not a request the supervisor understands: {body}")
        return self.sent


def as_json(value):
    import enum

    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat()
    if isinstance(value, enum.Enum):
        return value.value
    return str(value)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--conversation"]:
        converse(pathlib.Path(sys.argv[2]))
    else:
        main(sys.argv[1:])
