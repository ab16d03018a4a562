"""The two systems of the benchmark, each started in a new folder and ended again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "conformance"))

from official import Official, free_port, wait_until  # noqa: E402
from rest import RestApi  # noqa: E402

DAGS = Path(__file__).resolve().parent / "dags"
USER, PASSWORD = "admin", "admin"
START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 20


class OfficialAirflow:
    """API server, scheduler with LocalExecutor, Dag processor and triggerer, all with Airflow's defaults."""

    name = "official Airflow, LocalExecutor"

    def __init__(self, folder: Path):
        self.folder = folder
        self.airflow = Official(folder, {"bench": DAGS})
        self.rest = self.airflow.rest

    def start(self) -> None:
        self.airflow.prepare()
        self.airflow.start("api-server", "scheduler", "dag-processor", "triggerer")
        self.airflow.wait_healthy("scheduler", "dag_processor", "triggerer")

    def pids(self) -> list[int]:
        return [process.pid for process in self.airflow.processes.values()]

    def stop(self) -> None:
        self.airflow.stop()


class Tradewind:
    """`tradewind standalone`, with its own database."""

    name = "Tradewind, standalone"

    def __init__(self, folder: Path, binary: Path):
        self.folder = folder
        self.binary = binary
        self.home = folder / "tradewind"
        self.port = free_port()
        self.rest = RestApi(f"http://127.0.0.1:{self.port}", USER, PASSWORD)
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        if not self.binary.exists():
            sys.exit(f"{self.binary} was not found: run `make bench`, which builds it")
        self.home.mkdir()
        (self.home / "simple_auth_manager_passwords.json.generated").write_text(json.dumps({USER: PASSWORD}))
        command = [self.binary, "standalone", "--home", self.home, "--port", str(self.port), "--dags-folder", DAGS]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        environment["VIRTUAL_ENV"] = str(REPOSITORY / ".venv")
        with open(self.folder / "tradewind.log", "wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=REPOSITORY, start_new_session=True
            )
        wait_until(self._healthy, "a healthy Tradewind", START_TIMEOUT_SECONDS)

    def _healthy(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"tradewind ended with {self.process.returncode}: see {self.folder}/tradewind.log")
        return self.rest.healthy("scheduler", "dag_processor")

    def pids(self) -> list[int]:
        return [self.process.pid]

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
