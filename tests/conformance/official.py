"""Official Airflow on one machine: a private Postgres and the five components, started and ended together.

The recorder, the benchmark and whoever else needs the reference to measure against use this module; nothing in it
knows what is recorded.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rest import RestApi

REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".venv"
AIRFLOW_VERSION = "3.3.2"

START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 20


def airflow_package() -> Path:
    """The folder of the installed `airflow` package, found without importing it."""
    return next((VENV / "lib").glob("python3.*/site-packages/airflow"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(condition, what: str, timeout: float, interval: float = 0.25):
    """Polls until `condition()` answers something true, and returns that."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(interval)
    raise TimeoutError(f"{what} did not happen within {timeout:.0f} s")


@contextmanager
def working_folder(prefix: str, keep: bool) -> Iterator[Path]:
    """A new folder that everybody may enter. It goes with the block, also when SIGTERM ends the program; unless it is to
    be kept: then its path is printed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Postgres:
    """A private cluster in `folder`, on loopback, without durability. Root hands it to `nobody`, for Postgres
    refuses root."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    def _binary(self, name: str) -> str:
        candidates = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
        found = str(candidates[0]) if candidates else shutil.which(name)
        if not found:
            raise RuntimeError(f"Postgres' `{name}` was not found: install the package postgresql")
        return found

    def _credentials(self) -> dict:
        if os.geteuid() != 0:
            return {}
        nobody = pwd.getpwnam("nobody")
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def start(self) -> None:
        self.folder.mkdir(parents=True)
        credentials = self._credentials()
        if credentials:
            os.chown(self.folder, credentials["user"], credentials["group"])
        data = self.folder / "data"
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        subprocess.run(
            [self._binary("initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, env=environment, cwd=self.folder, **credentials,
        )  # fmt: skip
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off",
            "synchronous_commit": "off", "full_page_writes": "off", "max_connections": 200,
        }  # fmt: skip
        command = [self._binary("postgres"), "-D", data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with open(self.folder / "server.log", "wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=self.folder, start_new_session=True, **credentials
            )
        wait_until(self._accepts, "the start of Postgres", 30, 0.1)
        with self.connect("postgres") as connection:
            connection.execute("create database airflow")

    def _accepts(self) -> bool:
        try:
            self.connect("postgres").close()
        except Exception:
            return False
        return True

    def connect(self, database: str = "airflow"):
        import psycopg

        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=database, autocommit=True, connect_timeout=5,
            options="-c timezone=UTC",
        )  # fmt: skip

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGINT)  # "fast" shutdown: open sessions are ended
            self.process.wait(STOP_TIMEOUT_SECONDS)
            self.process = None


class Official:
    """Official Airflow under `folder`, which must be searchable by everyone (for Postgres) and not exist yet."""

    def __init__(self, folder: Path, bundles: dict[str, Path], options: dict[str, str] | None = None):
        self.bundles = bundles
        self.home = folder / "airflow"
        self.postgres = Postgres(folder / "postgres")
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.user, self.password = "admin", "admin"
        self.options = options or {}
        self.processes: dict[str, subprocess.Popen] = {}
        self.rest = RestApi(self.base_url, self.user, self.password)

    # -- environment -------------------------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        secret = base64.urlsafe_b64encode(b"conformance-only-never-a-secret!").decode()
        bundle_list = [
            {
                "name": name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(path)},
            }
            for name, path in self.bundles.items()
        ]
        values = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.base_url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": secret,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{self.user}:admin",
            "AIRFLOW__API__BASE_URL": self.base_url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__SECRET_KEY": secret,
            "AIRFLOW__API_AUTH__JWT_SECRET": secret,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://postgres@127.0.0.1:{self.postgres.port}/airflow",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundle_list),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW", "_AIRFLOW", "PYTHON", "VIRTUAL_ENV"))
        }
        inherited["PATH"] = f"{VENV / 'bin'}:{inherited['PATH']}"
        return inherited | values | self.options

    # -- life --------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Postgres, `airflow db migrate` and the one user."""
        self.home.mkdir(parents=True)
        (self.home / "simple_auth_manager_passwords.json.generated").write_text(json.dumps({self.user: self.password}))
        self.postgres.start()
        self.run("db", "migrate")

    def run(self, *arguments: str) -> None:
        """Runs one `airflow` command to its end."""
        with open(self.home / f"{arguments[0]}.log", "ab") as log:
            subprocess.run(
                [VENV / "bin" / "airflow", *arguments], env=self.environment(), cwd=self.home, check=True, stdout=log,
                stderr=log,
            )  # fmt: skip

    def start(self, *components: str) -> None:
        """Starts long-running components: `api-server`, `scheduler`, `dag-processor`, `triggerer`."""
        for name in components:
            arguments = [name]
            if name in ("scheduler", "triggerer"):
                arguments.append("--skip-serve-logs")
            with open(self.home / f"{name}.log", "ab") as log:
                self.processes[name] = subprocess.Popen(
                    [VENV / "bin" / "airflow", *arguments], env=self.environment(), cwd=self.home, stdout=log,
                    stderr=log, start_new_session=True,
                )  # fmt: skip

    def wait_healthy(self, *components: str) -> None:
        def healthy() -> bool:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"airflow {name} ended with {process.returncode}: see {self.home}/{name}.log")
            return self.rest.healthy(*components)

        wait_until(healthy, "a healthy official Airflow", START_TIMEOUT_SECONDS)

    def limit_parallelism(self, tasks: int) -> None:
        """From now on no more tasks run at once."""
        self.options |= {"AIRFLOW__CORE__PARALLELISM": str(tasks)}
        self._end({"scheduler": self.processes.pop("scheduler")})
        self.start("scheduler")
        self.wait_healthy("scheduler")

    def stop(self) -> None:
        self._end(self.processes)
        self.processes.clear()
        self.postgres.stop()

    def _end(self, processes: dict[str, subprocess.Popen]) -> None:
        for process in processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        for process in processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
            try:
                os.killpg(process.pid, signal.SIGKILL)  # what the component itself left behind
            except ProcessLookupError:
                pass
            process.wait()


def require_reference_version() -> None:
    """Answers recorded from another version than the pinned one would be no reference."""
    import importlib.metadata

    installed = importlib.metadata.version("apache-airflow")
    if installed != AIRFLOW_VERSION:
        sys.exit(f"apache-airflow {installed} is installed, {AIRFLOW_VERSION} is the reference: run `make` first")
