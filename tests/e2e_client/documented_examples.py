"""The examples in the documentation of the official Python client, and every operation of the client, once.

    python tests/e2e_client/documented_examples.py BASE_URL USER PASSWORD

The server knows the Dags of tests/api/dags/shop, runs them, exposes its configuration and tests connections. Which server
that is makes no difference: the same file passes against official Airflow.

What is wrong with the documentation itself (of apache-airflow-client 3.3.2) is mended or left out, and said in `MENDED` and
`NOT_SHIPPED`.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
import shlex
import subprocess
import sys
import time
from contextlib import redirect_stdout

import airflow_client.client
import requests
from airflow_client.client import api as apis
from airflow_client.client import models
from airflow_client.client.exceptions import ApiException, NotFoundException
from test_client import access_token, arguments, expect

WAIT_SECONDS = 90
# By what is written in the first example: what it has to be.
MENDED = {
    'host = "http://localhost"': "host = BASE_URL",
    'username="admin-api"': "username=USER",
    # `os` is never imported.
    'password=os.environ["PASSWORD"]': "password=PASSWORD",
    # The id of the asset is required: the model refuses to be made without it.
    "CreateAssetEventsBody()": "CreateAssetEventsBody(asset_id=ASSET_ID)",
}
# Listed in the documentation, and not in the package.
NOT_SHIPPED = {("DagReportApi", "get_dag_reports")}
LISTED = re.compile(r"^\*(\w+)\* \| \[\*\*(\w+)\*\*\]\(\S+\) \| \*\*[A-Z]+\*\* /api/v2/", re.MULTILINE)


def documentation() -> str:
    return importlib.metadata.metadata("apache-airflow-client").get_payload()


def blocks(language: str) -> list[str]:
    """The examples of the documentation in a language. Quotes are escaped in some of them."""
    found = re.findall(rf"^```{language}\n(.*?)^```", documentation(), re.MULTILINE | re.DOTALL)
    return [block.replace('\\"', '"') for block in found]


def operations() -> set[tuple[str, str]]:
    """Class and method of every operation of the client."""
    return {
        (name, method)
        for name, api in vars(apis).items()
        if name.endswith("Api")
        for method in vars(api)
        if not method.startswith("_") and not method.endswith(("_with_http_info", "_without_preload_content"))
    }


class Noted:
    """An API whose calls are noted."""

    def __init__(self, api, called: set):
        self._api, self._called = api, called

    def __getattr__(self, name: str):
        self._called.add((type(self._api).__name__, name))
        return getattr(self._api, name)


class Client:
    """The APIs by name without `Api` at the end."""

    def __init__(self, client: airflow_client.client.ApiClient):
        self._client, self.called = client, set()

    def __getattr__(self, name: str) -> Noted:
        return Noted(getattr(apis, f"{name}Api")(self._client), self.called)


def body(model: str, **fields):
    return getattr(models, model).from_dict(fields)


def bulk(entity: str, action: str, entities: list, **rules):
    """The body of a bulk request with one action."""
    return body(f"BulkBody{entity}", actions=[{"action": action, "entities": entities} | rules])


def same(found, wanted, what: str) -> None:
    expect(found == wanted, f"{what} ({wanted!r})", found)


def until(what: str, condition):
    """Polls until `condition()` answers something true, and returns that."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        if found := condition():
            return found
        expect(time.monotonic() < deadline, f"{what} within {WAIT_SECONDS} s", found)
        time.sleep(0.2)


def refused(status: int, call) -> None:
    """Asserts that a call is answered with an error."""
    try:
        found = call()
    except ApiException as error:
        expect(error.status == status, f"status {status}", error.status)
    else:
        expect(False, f"status {status}", found)


def misread(call) -> None:
    """Asserts that the client cannot read an answer that it got: by its models a task instance that is cleared is exactly
    one of two kinds, and each that is of the one is of the other, too."""
    try:
        found = call()
    except ValueError as error:
        expect("Multiple matches found" in str(error), "two kinds that fit", error)
    else:
        expect(False, "an answer that cannot be read", found)


# -- the examples --------------------------------------------------------------------------------------------------------


def getting_started(base_url: str, user: str, password: str, asset_id: int) -> None:
    """"Getting Started": a token, and an asset event."""
    (example,) = (block for block in blocks("python") if "get_airflow_client_access_token" in block)
    for written, mended in MENDED.items():
        expect(written in example, f"{written} in the example", example)
        example = example.replace(written, mended)
    # The example prints an error and goes on.
    example = example.replace("print(\"Exception when calling", "raise; print(\"Exception when calling")
    with redirect_stdout(io.StringIO()) as printed:
        exec(example, {"BASE_URL": base_url, "USER": user, "PASSWORD": password, "ASSET_ID": asset_id})
    answer = printed.getvalue()
    expect(answer.startswith("The response of AssetApi->create_asset_event:"), "the answer", answer)
    expect(f"asset_id={asset_id}" in answer, "the event", answer)


def pausing_with_curl(base_url: str, token: str, dag_id: str) -> None:
    """"Trying the API": a Dag is paused."""
    (example,) = (block for block in blocks("bash") if "is_paused" in block)
    for written, mended in (
        ("https://example.com", base_url), ("{dag_id}", dag_id), ("YOUR_ACCESS_TOKEN", token),
    ):  # fmt: skip
        expect(written in example, f"{written} in the example", example)
        example = example.replace(written, mended)
    command = shlex.split(example.replace("\\\n", " ")) + ["--silent", "--show-error", "--fail"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    expect('"is_paused":true' in answer.replace(" ", ""), "a paused Dag", answer)


def updating_a_field(base_url: str, token: str) -> None:
    """"Update Mask": a resource is read, one field changed, and all of it sent back."""
    (example,) = (block for block in blocks("python") if "update_mask=my_field" in block)
    example = example.replace("/resource/my-id", f"{base_url}/api/v2/variables/documented")
    example = example.replace("my_field", "description")
    session = requests.Session()
    session.headers.update({"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    session.post(
        f"{base_url}/api/v2/variables", json={"key": "documented", "value": "v", "description": "old"}
    ).raise_for_status()
    # What is read names fields that cannot be sent; the mask does not excuse them, on no server.
    example = example.replace("import requests\n", "").replace(".json()\n", ".json()\ndel resource['is_encrypted']\n")
    exec(example, {"requests": session, "json": json})
    found = session.get(f"{base_url}/api/v2/variables/documented").json()
    expect((found["value"], found["description"]) == ("v", "new-value"), "the new description", found)


# -- every operation -----------------------------------------------------------------------------------------------------


def settings(call: Client) -> None:
    """Pools, variables, connections and the server itself."""
    call.Pool.post_pool(body("PoolBody", name="shop", slots=8))
    call.Pool.post_pool(body("PoolBody", name="spare", slots=1))
    same(call.Pool.get_pool("shop").slots, 8, "a pool of 8")
    patch = body("PoolPatchBody", pool="spare", slots=2, include_deferred=False)
    call.Pool.patch_pool("spare", patch, update_mask=["slots"])
    call.Pool.bulk_pools(bulk("PoolBody", "create", [{"name": "bulk", "slots": 3}], action_on_existence="fail"))
    call.Pool.delete_pool("bulk")
    names = [pool.name for pool in call.Pool.get_pools(order_by=["-name"]).pools]
    same(names, ["spare", "shop", "default_pool"], "three pools")

    call.Variable.post_variable(body("VariableBody", key="region", value="eu"))
    call.Variable.patch_variable("region", body("VariableBody", key="region", value="us"))
    same(call.Variable.get_variable("region").value, "us", "the new value")
    call.Variable.bulk_variables(bulk("VariableBody", "create", [{"key": "bulk", "value": {"a": 1}}]))
    call.Variable.delete_variable("bulk")
    expect("region" in [one.key for one in call.Variable.get_variables().variables], "region", None)

    files = body("ConnectionBody", connection_id="files", conn_type="fs", extra='{"path": "/"}')
    call.Connection.post_connection(files)
    call.Connection.patch_connection("files", files)
    same(call.Connection.get_connection("files").conn_type, "fs", "the connection")
    call.Connection.bulk_connections(bulk("ConnectionBody", "create", [{"connection_id": "bulk", "conn_type": "fs"}]))
    call.Connection.delete_connection("bulk")
    same(call.Connection.test_connection(files).status, True, "a connection that works")
    queued = call.Connection.enqueue_connection_test(
        body("ConnectionTestRequestBody", connection_id="later", conn_type="fs", extra='{"path": "/"}')
    )
    same(call.Connection.get_connection_test(queued.token).connection_id, "later", "the test")
    call.Connection.create_default_connections()
    expect(call.Connection.get_connections().total_entries > 60, "the default connections", None)

    expect(call.Version.get_version().version.startswith("3.3."), "a version", None)
    same(call.Monitor.get_health().metadatabase.status, "healthy", "a healthy database")
    sections = [section.name for section in call.Config.get_config(accept="application/json").sections]
    expect({"core", "celery", "aws"} <= set(sections), "sections of Airflow and its providers", sections)
    value = call.Config.get_config_value("core", "fernet_key", accept="application/json").sections[0].options[0].value
    same(value.to_dict(), "< hidden >", "a hidden secret")
    expect(call.Provider.get_providers().total_entries > 3, "providers", None)
    call.Plugin.get_plugins()
    call.Plugin.import_errors()
    call.Job.get_jobs()


def dags(call: Client) -> None:
    """Dags, their files, versions before anything runs."""
    call.DAG.patch_dags(body("DAGPatchBody", is_paused=False), dag_id_pattern="~")
    call.DAG.patch_dag("daily", body("DAGPatchBody", is_paused=True), update_mask=["is_paused"])
    dag = call.DAG.get_dag("pipeline")
    expect((dag.is_paused, dag.owners) == (False, ["sales"]), "the Dag", dag)
    same(call.DAG.get_dag_details("pipeline").params["count"]["value"], 3, "its parameters")
    same(call.DAG.get_dag_tags(tag_name_pattern="s").tags, ["assets", "shop"], "two tags")
    call.DAG.favorite_dag("pipeline")
    favourites = [dag.dag_id for dag in call.DAG.get_dags(is_favorite=True).dags]
    same(favourites, ["pipeline"], "the favourite")
    call.DAG.unfavorite_dag("pipeline")
    expect("TaskGroup" in call.DagSource.get_dag_source("pipeline", accept="application/json").content, "code", None)
    same(call.DagVersion.get_dag_versions("pipeline").total_entries, 1, "one version")
    call.DagVersion.get_dag_version("pipeline", 1)
    call.DAGParsing.reparse_dag_file(dag.file_token)
    call.DagStats.get_dag_stats(dag_ids=["pipeline"])
    expect("sums.double" in [task.task_id for task in call.Task.get_tasks("pipeline").tasks], "the tasks", None)
    same(call.Task.get_task("pipeline", "sums.double").is_mapped, True, "a mapped task")
    call.DagWarning.list_dag_warnings()
    error = until("an import error", lambda: call.ImportError.get_import_errors().import_errors)[0]
    trace = call.ImportError.get_import_error(error.import_error_id).stack_trace
    expect("nothing_of_this_name" in trace, "the module that is missing", trace)
    call.DAG.delete_dag("no_pool")


def assets(call: Client) -> int:
    """Assets, their events, what waits for them, and their state stores. Returns the id of one."""
    asset_id = next(asset.id for asset in call.Asset.get_assets(name_pattern="orders").assets)
    same(call.Asset.get_asset(asset_id).name, "orders", "the asset")
    alias = call.Asset.get_asset_aliases().asset_aliases[0]
    same(call.Asset.get_asset_alias(alias.id)["name"], "any_orders", "the alias")
    run = call.Asset.materialize_asset(asset_id)
    same(run.dag_id, "produce", "a run of the Dag that makes it")

    def queued():
        try:
            return call.Asset.get_dag_asset_queued_event("consume_both", asset_id)
        except NotFoundException:
            return None

    until("the queued event", queued)
    expect(call.Asset.get_asset_queued_events(asset_id).total_entries >= 1, "one that waits", None)
    same(call.Asset.get_dag_asset_queued_events("consume_both").total_entries, 1, "the same")
    event = body("CreateAssetEventsBody", asset_id=asset_id, extra={"by": "hand"})
    call.Asset.delete_dag_asset_queued_event("consume_both", asset_id)
    call.Asset.create_asset_event(event)
    call.Asset.delete_asset_queued_events(asset_id)
    call.Asset.create_asset_event(event)
    call.Asset.delete_dag_asset_queued_events("consume_both")
    # While a run waits that an event started, official Airflow answers 500 for the event.
    started = ["running", "success"]
    consumer = until("a run that an event started", lambda: call.DagRun.get_dag_runs("consume", state=started).dag_runs)[0]
    until("the start of all of them", lambda: not call.DagRun.get_dag_runs("consume", state=["queued"]).dag_runs)
    same(call.Asset.get_asset_events(asset_id=asset_id).total_entries, 3, "three events")
    upstream = call.DagRun.get_upstream_asset_events("consume", consumer.dag_run_id)
    expect(upstream.total_entries >= 1, "the events of that run", upstream)

    store = call.AssetStateStore
    store.set_asset_state_store("mark", asset_id, body("AssetStateStoreBody", value="7"))
    same(store.get_asset_state_store("mark", asset_id).value, "7", "what was stored")
    same(store.list_asset_state_store(asset_id).total_entries, 1, "one key")
    store.delete_asset_state_store("mark", asset_id)
    store.clear_asset_state_store(asset_id)
    return asset_id


def runs(call: Client) -> None:
    """A run from its trigger to its end, and what can be done to it then."""
    runs = call.DagRun
    runs.trigger_dag_run("pipeline", body("TriggerDAGRunPostBody", dag_run_id="one", logical_date=None))
    runs.wait_dag_run_until_finished("pipeline", "one", 1)
    call.Experimental.wait_dag_run_until_finished("pipeline", "one", 1)
    same(runs.get_dag_run("pipeline", "one").state, "success", "a run that succeeds")
    noted = runs.patch_dag_run("pipeline", "one", body("DAGRunPatchBody", note="n"), update_mask=["note"])
    same(noted.note, "n", "the note")
    entity = {"dag_run_id": "one", "note": "m"}
    runs.bulk_dag_runs("pipeline", bulk("BulkDAGRunBody", "update", [entity], update_mask=["note"]))
    same(runs.get_dag_runs("pipeline", state=["success"]).dag_runs[0].note, "m", "the run with its note")
    batch = runs.get_list_dag_runs_batch("~", body("DAGRunsBatchBody", dag_ids=["pipeline"], order_by="-id"))
    same(batch.total_entries, 1, "the run")
    misread(lambda: runs.clear_dag_run("pipeline", "one", body("DAGRunClearBody", dry_run=True)))
    all_of_it = body("BulkDAGRunClearBody", dry_run=True, dag_runs=[{"dag_run_id": "one"}])
    misread(lambda: runs.clear_dag_runs("pipeline", all_of_it))
    runs.clear_dag_run_partitions("pipeline", body("ClearPartitionsBody", dry_run=True, partition_key="none"))
    call.DAG.get_dag("triggered")


def task_instances(call: Client) -> None:
    """Task instances of the run, mapped ones too, their attempts, logs, XComs and state stores."""
    tasks, run = call.TaskInstance, ("pipeline", "one")
    same(tasks.get_task_instance(*run, "values").state, "success", "a task that succeeded")
    same(tasks.get_task_instances(*run).total_entries, 8, "all of the run")
    batch = tasks.get_task_instances_batch("~", "~", body("TaskInstancesBatchBody", dag_ids=["pipeline"]))
    same(batch.total_entries, 8, "the same")
    same(tasks.get_mapped_task_instances(*run, "sums.double").total_entries, 3, "three of the mapped task")
    tasks.get_mapped_task_instance(*run, "sums.double", 1)
    tasks.get_task_instance_dependencies(*run, "values")
    tasks.get_task_instance_dependencies_by_map_index(*run, "sums.double", 1)
    tasks.get_task_instance_tries(*run, "values")
    tasks.get_mapped_task_instance_tries(*run, "sums.double", 1)
    tasks.get_task_instance_try_details(*run, "values", 1)
    tasks.get_mapped_task_instance_try_details(*run, "sums.double", 1, 1)
    log = tasks.get_log(*run, "values", 1, full_content=True, accept="application/json")
    expect(len(log.content.actual_instance) > 0, "lines of the log", log)
    refused(400, lambda: tasks.get_external_log_url(*run, "values", 1))
    for links in (tasks, call.ExtraLinks):
        found = links.get_extra_links(*run, "trigger").extra_links
        expect("Triggered DAG" in found, "the link to the triggered run", found)

    note = body("PatchTaskInstanceBody", note="n")
    tasks.patch_task_instance(*run, "values", note, update_mask=["note"])
    tasks.patch_task_instance_by_map_index(*run, "sums.double", 1, note, update_mask=["note"])
    failed = body("PatchTaskInstanceBody", new_state="failed")
    tasks.patch_task_instance_dry_run(*run, "values", failed)
    tasks.patch_task_instance_dry_run_by_map_index(*run, "sums.double", 1, failed)
    tasks.patch_task_group_instances_dry_run(*run, "sums", failed)
    tasks.patch_task_group_instances(*run, "sums", note, update_mask=["note"])
    entity = {"task_id": "values", "note": "m"}
    tasks.bulk_task_instances(*run, bulk("BulkTaskInstanceBody", "update", [entity], update_mask=["note"]))
    tasks.post_clear_task_instances("pipeline", body("ClearTaskInstancesBody", dag_run_id="one", only_failed=False))

    xcoms = call.XCom
    xcoms.create_xcom_entry("pipeline", "values", "one", body("XComCreateBody", key="mine", value={"a": 1}))
    xcoms.update_xcom_entry("pipeline", "values", "one", "mine", body("XComUpdateBody", value=[2]))
    same(xcoms.get_xcom_entries(*run, "values").total_entries, 2, "the value returned, and mine")
    same(xcoms.get_xcom_entry("pipeline", "values", "one", "mine").actual_instance.value, [2], "mine")
    xcoms.delete_xcom_entry("pipeline", "values", "one", "mine")

    store = call.TaskStateStore
    store.set_task_state_store("cursor", *run, "values", body("TaskStateStoreBody", value="12"))
    store.patch_task_state_store("cursor", *run, "values", body("TaskStateStorePatchBody", value="13"))
    same(store.get_task_state_store("cursor", *run, "values").value, "13", "what was stored")
    same(store.list_task_state_store(*run, "values").total_entries, 1, "one key")
    store.delete_task_state_store("cursor", *run, "values")
    store.clear_task_state_store(*run, "values")


def approval(call: Client) -> None:
    """A task that a person answers."""
    tasks, run = call.TaskInstance, ("approval", "one")
    call.DagRun.trigger_dag_run("approval", body("TriggerDAGRunPostBody", dag_run_id="one", logical_date=None))
    until("two questions", lambda: tasks.get_hitl_details(*run).total_entries == 2)
    same(tasks.get_hitl_detail(*run, "choose", -1).options, ["one", "two"], "its options")
    same(tasks.get_hitl_detail_try_detail(*run, "choose", -1, 1).subject, "Which?", "its subject")
    answer = body("UpdateHITLDetailPayload", chosen_options=["two"], params_input={"note": "said"})
    same(tasks.update_hitl_detail(*run, "choose", -1, answer).chosen_options, ["two"], "the answer")


def backfills(call: Client) -> None:
    """A backfill of a Dag that is paused, so that it does not end meanwhile."""
    days = {"from_date": "2026-01-03T00:00:00Z", "to_date": "2026-01-04T00:00:00Z"}
    wanted = body("BackfillPostBody", dag_id="daily", **days)
    same(call.Backfill.create_backfill_dry_run(wanted).total_entries, 2, "two runs")
    backfill = call.Backfill.create_backfill(wanted)
    same(call.Backfill.list_backfills("daily").total_entries, 1, "one backfill")
    same(call.Backfill.pause_backfill(backfill.id).is_paused, True, "a paused backfill")
    same(call.Backfill.unpause_backfill(backfill.id).is_paused, False, "one that goes on")
    call.Backfill.cancel_backfill(backfill.id)
    expect(call.Backfill.get_backfill(backfill.id).completed_at is not None, "one that has ended", backfill)


def ends(call: Client) -> None:
    """What removes what the others were about, what is noted of all that, and the end of the session."""
    call.TaskInstance.delete_task_instance("pipeline", "one", "values")
    call.DagRun.delete_dag_run("pipeline", "one")
    events = call.EventLog.get_event_logs(event="delete_dag_run").event_logs
    call.EventLog.get_event_log(events[0].event_log_id)
    call.Login.login()
    call.Login.logout()


def main() -> None:
    options = arguments()
    base_url = options.base_url.rstrip("/")
    configuration = airflow_client.client.Configuration(host=base_url)
    token = configuration.access_token = access_token(base_url, options.user, options.password)
    with airflow_client.client.ApiClient(configuration) as client:
        call = Client(client)
        until("the parsing of all Dags", lambda: call.DAG.get_dags(limit=50).total_entries >= 10)
        settings(call)
        dags(call)
        asset_id = assets(call)
        getting_started(base_url, options.user, options.password, asset_id)
        pausing_with_curl(base_url, token, "consume")
        updating_a_field(base_url, token)
        runs(call)
        task_instances(call)
        approval(call)
        backfills(call)
        ends(call)
    left = operations() - call.called
    expect(not left, "every operation of the client", sorted(left))
    listed = set(LISTED.findall(documentation()))
    expect(listed - operations() == NOT_SHIPPED, "every operation that is listed", sorted(listed - operations()))
    print(f"{len(operations())} operations of the client, 3 examples")


if __name__ == "__main__":
    main()
