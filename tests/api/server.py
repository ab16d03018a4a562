"""The servers that are compared, each alone on a private Postgres: official Airflow's, and Tradewind's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "conformance"))

from official import START_TIMEOUT_SECONDS, STOP_TIMEOUT_SECONDS, VENV, Official, wait_until  # noqa: E402

RECORDED = FOLDER / "recorded"
COPY = "copy"
USERS = {"admin": "admin", "op": "op", "user": "user", "viewer": "viewer"}
SETTINGS = {
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
    "AIRFLOW__CORE__DAGS_FOLDER": "/opt/airflow/dags",
    "AIRFLOW__CORE__TEST_CONNECTION": "Disabled",
    "AIRFLOW__API__EXPOSE_CONFIG": "True",
    "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "8793",
    "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": "8794",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "1",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
}


def write_passwords(official: Official) -> None:
    """Lets every user log in with the user's own name."""
    passwords = official.home / "simple_auth_manager_passwords.json.generated"
    passwords.write_text(json.dumps({name: name for name in USERS}))


class OfficialServer(Official):
    """The official API server on restored data."""

    #: After an answer was sent.
    commits_within_seconds = 0.01

    def adopt(self) -> None:
        """Has `airflow.cfg` written, which a process reads only when it is there at its start: any installation has it."""
        self.run("config", "get-value", "core", "executor")

    def serve(self) -> None:
        self.start("api-server")
        self.wait_healthy()


class TradewindServer(Official):
    """`tradewind webserver` on restored data."""

    #: It commits before it answers.
    commits_within_seconds = 0

    def __init__(self, program: Path, folder: Path, bundles: dict[str, Path], options: dict[str, str]):
        super().__init__(folder, bundles, {"AIRFLOW__TRADEWIND__VENV": str(VENV)} | options)
        self.program = program

    def _run(self, log, *arguments: str, **options: str) -> subprocess.Popen:
        return subprocess.Popen(
            [self.program, *arguments], env=self.environment() | options, cwd=self.home, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip

    def adopt(self) -> None:
        """Adds Tradewind's own schema to the official one, and what only Python knows of the installed packages."""
        with open(self.home / "migrate.log", "ab") as log:
            if code := self._run(log, "db", "migrate").wait(START_TIMEOUT_SECONDS):
                raise RuntimeError(f"db migrate ended with {code}: {(self.home / 'migrate.log').read_text()}")
        self._publish_environment()

    def _publish_environment(self) -> None:
        """A Dag processor publishes it at its start. It runs on a copy of the database, for it would change the Dags."""
        with self.postgres.connect("postgres") as connection:
            connection.execute(f"create database {COPY} template airflow")
        bundle = {"name": "empty", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
        empty = self.home / "empty"
        empty.mkdir()
        connection_string = self.environment()["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        options = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": connection_string.removesuffix("airflow") + COPY,
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle | {"kwargs": {"path": str(empty)}}]),
        }
        path = self.home / "dag-processor.log"
        with open(path, "ab") as log, self.postgres.connect(COPY) as copy, self.postgres.connect() as connection:
            process = self._run(log, "dag-processor", **options)
            try:
                query = "select to_jsonb(e)::text from tradewind.python_environment e"
                published = lambda: copy.execute(query).fetchone()  # noqa: E731
                (row,) = wait_until(published, f"the Dag processor's list of packages: see {path}", START_TIMEOUT_SECONDS)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(STOP_TIMEOUT_SECONDS)
            table = "tradewind.python_environment"
            connection.execute(f"insert into {table} select * from jsonb_populate_record(null::{table}, %s::jsonb)", (row,))
        with self.postgres.connect("postgres") as connection:
            connection.execute(f"drop database {COPY} with (force)")

    def serve(self) -> None:
        path = self.home / "webserver.log"
        with open(path, "ab") as log:
            process = self._run(log, "webserver", "--host", "127.0.0.1", "--port", str(self.port))
        self.processes["webserver"] = process

        def healthy() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"tradewind webserver ended with {process.returncode}: {path.read_text()}")
            return self.rest.healthy()

        wait_until(healthy, "the start of Tradewind", START_TIMEOUT_SECONDS, 0.05)

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        super().stop()
