"""The servers that are compared, each alone on a private Postgres: official Airflow's, and Tradewind's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "conformance"))

from official import START_TIMEOUT_SECONDS, VENV, Official, wait_until  # noqa: E402

RECORDED = FOLDER / "recorded"
USERS = {"admin": "admin", "op": "op", "user": "user", "viewer": "viewer"}
SETTINGS = {
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
    "AIRFLOW__CORE__DAGS_FOLDER": "/opt/airflow/dags",
    "AIRFLOW__CORE__TEST_CONNECTION": "Disabled",
    "AIRFLOW__API__EXPOSE_CONFIG": "True",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "1",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
}


def write_passwords(official: Official) -> None:
    """Lets every user log in with the user's own name."""
    passwords = official.home / "simple_auth_manager_passwords.json.generated"
    passwords.write_text(json.dumps({name: name for name in USERS}))


class OfficialServer(Official):
    """The official API server on restored data."""

    def serve(self) -> None:
        self.start("api-server")
        self.wait_healthy()


class TradewindServer(Official):
    """`tradewind webserver` on restored data."""

    def __init__(self, program: Path, folder: Path, bundles: dict[str, Path], options: dict[str, str]):
        super().__init__(folder, bundles, {"AIRFLOW__TRADEWIND__VENV": str(VENV)} | options)
        self.program = program

    def _run(self, log, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [self.program, *arguments], env=self.environment(), cwd=self.home, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip

    def migrate(self) -> None:
        """Adds Tradewind's own schema to the official one."""
        with open(self.home / "migrate.log", "ab") as log:
            if code := self._run(log, "db", "migrate").wait(START_TIMEOUT_SECONDS):
                raise RuntimeError(f"db migrate ended with {code}: {(self.home / 'migrate.log').read_text()}")

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
