"""The official Python client against a running server: lists Dags, unpauses, triggers, waits, reads a log.

    python tests/e2e_client/test_client.py BASE_URL USER PASSWORD [DAG_ID TASK_ID LOG_TEXT]

Ends with 0, or with 1 and one line that says what was expected and what came. It neither knows nor cares which
server answers: the same file passes against official Airflow.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
import uuid

from airflow_client.client import ApiClient, Configuration
from airflow_client.client.api import (
    DAGApi,
    DagRunApi,
    ImportErrorApi,
    MonitorApi,
    TaskInstanceApi,
    VersionApi,
    XComApi,
)
from airflow_client.client.models import DAGPatchBody, TriggerDAGRunPostBody

RUN_TIMEOUT_SECONDS = 120
LOG_TIMEOUT_SECONDS = 20


class Mismatch(Exception):
    """The server answered, but not what the contract says."""


def expect(condition: bool, expected: str, found: object) -> None:
    if not condition:
        raise Mismatch(f"expected {expected}, found {found!r}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url")
    parser.add_argument("user")
    parser.add_argument("password")
    parser.add_argument("dag_id", nargs="?", default="tutorial_taskflow_api")
    parser.add_argument("task_id", nargs="?", default="load")
    parser.add_argument("log_text", nargs="?", default="Total order value is: 1236.70")
    return parser.parse_args()


def access_token(base_url: str, user: str, password: str) -> str:
    body = json.dumps({"username": user, "password": password}).encode()
    request = urllib.request.Request(f"{base_url}/auth/token", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["access_token"]


def check_server(client: ApiClient) -> None:
    version = VersionApi(client).get_version()
    expect(version.version.startswith("3."), "an Airflow 3 version", version.version)
    health = MonitorApi(client).get_health()
    for component in ("metadatabase", "scheduler", "dag_processor"):
        status = getattr(health, component).status
        expect(status == "healthy", f"a healthy {component}", status)


def check_dags(client: ApiClient, dag_id: str) -> None:
    dags = DAGApi(client)
    page = dags.get_dags(limit=2, order_by=["dag_id"])
    expect(len(page.dags) == min(2, page.total_entries), "two Dags on a page of two", len(page.dags))
    names = [dag.dag_id for dag in page.dags]
    expect(names == sorted(names), "Dags in the order asked for", names)
    found = dags.get_dags(dag_id_pattern=dag_id)
    expect(dag_id in [dag.dag_id for dag in found.dags], f"{dag_id} in the list of Dags", found.total_entries)
    details = dags.get_dag_details(dag_id)
    expect(details.dag_id == dag_id, "the details of the Dag", details.dag_id)
    ImportErrorApi(client).get_import_errors()

    unpaused = dags.patch_dag(dag_id, DAGPatchBody(is_paused=False), update_mask=["is_paused"])
    expect(unpaused.is_paused is False, "an unpaused Dag", unpaused.is_paused)


def run_to_end(client: ApiClient, dag_id: str) -> str:
    runs = DagRunApi(client)
    run_id = f"client_{uuid.uuid4().hex[:8]}"
    created = runs.trigger_dag_run(dag_id, TriggerDAGRunPostBody(dag_run_id=run_id, logical_date=None))
    expect(created.dag_run_id == run_id, f"a run named {run_id}", created.dag_run_id)
    deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
    while (run := runs.get_dag_run(dag_id, run_id)).state not in ("success", "failed"):
        expect(time.monotonic() < deadline, f"the end of the run within {RUN_TIMEOUT_SECONDS} s", run.state)
        time.sleep(0.2)
    expect(run.state == "success", "a run that succeeds", run.state)
    expect(run.start_date is not None and run.end_date is not None, "a run with start and end", run.to_dict())
    listed = [run.dag_run_id for run in runs.get_dag_runs(dag_id).dag_runs]
    expect(run_id in listed, f"{run_id} in the list of runs", listed)
    return run_id


def check_task_instances(client: ApiClient, dag_id: str, run_id: str, task_id: str) -> int:
    tasks = TaskInstanceApi(client)
    instances = tasks.get_task_instances(dag_id, run_id).task_instances
    states = {instance.task_id: instance.state for instance in instances}
    expect(set(states.values()) == {"success"}, "every task instance in success", states)
    instance = tasks.get_task_instance(dag_id, run_id, task_id)
    expect(instance.try_number == 1, "one try", instance.try_number)
    expect(instance.duration is not None, "a duration", instance.duration)
    XComApi(client).get_xcom_entries(dag_id, run_id, task_id)
    return instance.try_number


def check_log(client: ApiClient, dag_id: str, run_id: str, task_id: str, try_number: int, text: str) -> None:
    """The end of a log may come a moment after the end of its task."""
    tasks = TaskInstanceApi(client)
    deadline = time.monotonic() + LOG_TIMEOUT_SECONDS
    while True:
        log = tasks.get_log(dag_id, run_id, task_id, try_number, full_content=True, accept="application/json")
        events = [line.event for line in log.content.actual_instance]
        if any(text in event for event in events):
            return
        expect(time.monotonic() < deadline, f"{text!r} in the log of {task_id}", events)
        time.sleep(0.5)


def main() -> None:
    options = arguments()
    base_url = options.base_url.rstrip("/")
    try:
        configuration = Configuration(host=base_url)
        configuration.access_token = access_token(base_url, options.user, options.password)
        with ApiClient(configuration) as client:
            check_server(client)
            check_dags(client, options.dag_id)
            run_id = run_to_end(client, options.dag_id)
            try_number = check_task_instances(client, options.dag_id, run_id, options.task_id)
            check_log(client, options.dag_id, run_id, options.task_id, try_number, options.log_text)
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(f"{options.dag_id} {run_id}: listed, unpaused, triggered, succeeded, log read")


if __name__ == "__main__":
    main()
