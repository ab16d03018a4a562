#!/usr/bin/env python3
"""Records what the official API server answers.

    record.py fill DATABASE_URL WORK_FOLDER     runs official Airflow on an empty, migrated database
    record.py dump DATABASE_URL WORK_FOLDER     writes fixtures/ from it
    record.py answers DATABASE_URL WORK_FOLDER  writes recorded/answers.ndjson from it
    record.py waiting DATABASE_URL WORK_FOLDER  writes recorded/waiting.ndjson from a migrated database that holds
                                                fixtures/airflow.sql and fixtures/waiting.sql

DATABASE_URL is a libpq URL. Run it with the Python of the virtual environment that holds Airflow; psql and pg_dump
must be on the PATH. Paths of the work folder are replaced by /opt/airflow in all that is written.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
SHOWN_FOLDER = "/opt/airflow"
SECRET = "not-a-secret-" * 5
FERNET_KEY = "cFuF9mKqkzGm2JPQTlzrC9LvvS4oGvRAIpZ2R0oBbJ0="
DAG_FILES = {
    "airflow.example_dags": """tutorial_taskflow_api tutorial_dag example_dynamic_task_mapping example_task_group
        example_setup_teardown_taskflow example_xcom example_params_ui_tutorial example_failed_dag example_assets
        example_simplest_dag example_complex example_trigger_target_dag""",
    "airflow.providers.standard.example_dags": """example_bash_operator example_branch_operator
        example_short_circuit_decorator example_hitl_operator example_trigger_controller_dag""",
}
RUN = """tutorial_taskflow_api example_bash_operator example_branch_operator example_dynamic_task_mapping
    example_task_group example_setup_teardown_taskflow example_xcom example_short_circuit_decorator example_failed_dag
    asset_produces_1 asset_consumes_1 example_trigger_target_dag example_hitl_operator""".split()
LOGGED = ["example_xcom/one/push", "example_dynamic_task_mapping/one/add_one"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Airflow:
    """Official components on a database; leaving the block ends them."""

    def __init__(self, database, folder, components):
        self.base = f"http://127.0.0.1:{free_port()}"
        self.folder = folder
        self.components = components
        self.environment = os.environ | {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": re.sub(r"^postgres(ql)?:", "postgresql+psycopg2:", database),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": self.base + "/execution/",
            "AIRFLOW__API__BASE_URL": self.base,
            "AIRFLOW__API__SECRET_KEY": SECRET,
            "AIRFLOW__API_AUTH__JWT_SECRET": SECRET,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def __enter__(self):
        port = self.base.rsplit(":", 1)[1]
        commands = [["api-server", "--host", "127.0.0.1", "--port", port], *([name] for name in self.components)]
        self.processes = [
            subprocess.Popen(
                ["airflow", *command],
                env=self.environment,
                stdout=(self.folder / f"{command[0]}.out").open("w"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            for command in commands
        ]
        self.wait(lambda: self.call("GET", "/api/v2/version", token=None)[0] == 200, "the API server")
        passwords = json.loads((self.folder / "simple_auth_manager_passwords.json.generated").read_text())
        body = {"username": "admin", "password": passwords["admin"]}
        self.token = self.call("POST", "/auth/token", body, token=None)[1]["access_token"]
        return self

    def __exit__(self, *_):
        for process in self.processes:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            process.wait(60)

    def call(self, method, path, body=None, token="", accept="*/*"):
        headers = {"Content-Type": "application/json", "Accept": accept}
        if token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                status, text = response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        except urllib.error.URLError:
            return 0, None
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    @staticmethod
    def wait(condition, what, seconds=240):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                sys.exit(f"{what} did not come about within {seconds} s")
            time.sleep(1)


def fill(database, folder):
    """Runs a few example Dags and makes the entities that pages show."""
    (folder / "dags").mkdir(parents=True, exist_ok=True)
    import importlib.util

    for package, names in DAG_FILES.items():
        source = Path(importlib.util.find_spec(package).origin).parent
        for name in names.split():
            (folder / "dags" / f"{name}.py").write_bytes((source / f"{name}.py").read_bytes())
    (folder / "dags" / "broken_dag.py").write_text("import does_not_exist  # an airflow dag that cannot be imported\n")
    with Airflow(database, folder, ["dag-processor", "scheduler", "triggerer"]) as airflow:
        airflow.wait(lambda: airflow.call("GET", "/api/v2/importErrors")[1]["total_entries"] == 1, "the import error")
        post = lambda path, body=None: airflow.call("POST", "/api/v2/" + path, body)
        post("variables", {"key": "city", "value": "Aachen", "description": "a place"})
        post("variables", {"key": "api_key", "value": "s3cret"})
        post("variables", {"key": "settings", "value": {"a": 1, "password": "x"}})
        extra = '{"sslmode":"require","token":"abc"}'
        login = {"login": "u", "password": "p", "host": "db", "port": 5432, "schema": "s", "extra": extra}
        post("connections", {"connection_id": "pg", "conn_type": "postgres"} | login)
        post("connections", {"connection_id": "web", "conn_type": "http", "host": "example.com"})
        post("pools", {"name": "small", "slots": 3, "description": "three", "include_deferred": True})
        for dag_id in RUN:
            airflow.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})
            note = "first note" if dag_id == "example_xcom" else None
            body = {"logical_date": "2026-11-01T00:00:00Z", "dag_run_id": "one", "note": note}
            post(f"dags/{dag_id}/dagRuns", body)

        def ended():
            runs = airflow.call("GET", "/api/v2/dags/~/dagRuns?limit=100")[1]["dag_runs"]
            return all(run["state"] in ("success", "failed") or "hitl" in run["dag_id"] for run in runs)

        airflow.wait(ended, "the end of all runs")
        post("dags/example_failed_dag/dagRuns/one/clear", {"dry_run": False})
        body = {"dry_run": False, "dag_run_id": "one", "only_failed": False, "task_ids": ["push"], "note": "again"}
        post("dags/example_xcom/clearTaskInstances", body)
        post("dags/example_xcom/favorite")
        body = {"logical_date": None, "dag_run_id": "two", "conf": {"a": [1, {"b": None}]}}
        post("dags/tutorial_taskflow_api/dagRuns", body)
        airflow.wait(ended, "the end of all runs")
        put = lambda path, value: airflow.call("PUT", "/api/v2/" + path, {"value": value})
        put("assets/1/state-store/cursor", {"page": 3})
        put("assets/1/state-store/folder/file", "a")
        put("dags/example_xcom/dagRuns/one/taskInstances/push/state-store/cursor", [1, None])

        run = "dags/example_hitl_operator/dagRuns/one"
        instance = f"/api/v2/{run}/taskInstances/wait_for_option"
        is_in = lambda state: lambda: airflow.call("GET", instance)[1]["state"] == state
        airflow.wait(is_in("awaiting_input"), "a question")
        airflow.call("PATCH", instance + "/-1/hitlDetails", {"chosen_options": ["option 2"]})
        airflow.wait(is_in("success"), "the end of the answered task")
        body = {"dry_run": False, "dag_run_id": "one", "only_failed": False, "task_ids": ["wait_for_option"]}
        post("dags/example_hitl_operator/clearTaskInstances", body)
        airflow.wait(is_in("awaiting_input"), "a second question")


def shown(text, folder):
    return text.replace(str(folder), SHOWN_FOLDER).replace(sys.prefix, f"{SHOWN_FOLDER}/venv")


def dump(database, folder):
    """Writes the rows as SQL, and the logs of a few task instances."""
    command = ["pg_dump", "--data-only", "--inserts", "--rows-per-insert=50", "--no-owner", "--schema=public"]
    command += ["--exclude-table=alembic_version", database]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # What stands before the first row is settings of pg_dump's own session, what stands after the last is for psql.
    rows = text[text.index("INSERT INTO ") :]
    rows = re.sub(r"\n\\unrestrict .*", "", rows)
    tables = sorted(set(re.findall(r"^INSERT INTO public\.(\S+) VALUES", rows, re.M)))
    head = f"SET session_replication_role = replica;\nTRUNCATE {', '.join(f'public.{t}' for t in tables)} CASCADE;\n"
    (TESTS / "fixtures" / "airflow.sql").write_text(head + shown(rows, folder))
    for name in LOGGED:
        dag_id, run_id, task_id = name.split("/")
        path = Path(f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}")
        for file in (folder / "logs" / path).rglob("*.log"):
            target = TESTS / "fixtures" / "logs" / file.relative_to(folder / "logs")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(shown(file.read_text(), folder))


def answers(database, folder):
    """Writes the official answer to each request, one line of JSON each."""
    with Airflow(database, folder, []) as airflow, (TESTS / "recorded" / "answers.ndjson").open("w") as file:
        for line in (TESTS / "recorder" / "requests.txt").read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            lines = line.startswith("ndjson ")
            path = line.removeprefix("ndjson ")
            accept = "application/x-ndjson" if lines else "*/*"
            status, body = airflow.call("GET", path, accept=accept)
            if isinstance(body, str) and lines:
                body = [json.loads(part) for part in body.splitlines()]
            record = {"path": path, "accept": accept, "status": status, "body": [body] if lines and isinstance(body, dict) else body}
            file.write(shown(json.dumps(record, ensure_ascii=False), folder) + "\n")


def waiting(database, folder):
    """Writes what the official server says of each task instance that waits, one line of JSON each."""
    folder.mkdir(parents=True, exist_ok=True)
    with Airflow(database, folder, []) as airflow, (TESTS / "recorded" / "waiting.ndjson").open("w") as file:
        for run_id in ["before", "now", "queued"]:
            instances = f"/api/v2/dags/waiting/dagRuns/{run_id}/taskInstances"
            page = lambda offset: airflow.call("GET", f"{instances}?limit=100&offset={offset}")[1]["task_instances"]
            for task_id in sorted(instance["task_id"] for instance in page(0) + page(100)):
                path = f"{instances}/{task_id}/dependencies"
                status, body = airflow.call("GET", path)
                file.write(json.dumps({"path": path, "accept": "*/*", "status": status, "body": body}) + "\n")


COMMANDS = {"fill": fill, "dump": dump, "answers": answers, "waiting": waiting}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]).resolve())
