"""Every command of airflowctl (apache-airflow-ctl), the official remote command line, against a running server.

    python tests/e2e_client/airflowctl_commands.py BASE_URL USER PASSWORD

The server knows the Dags of tests/api/dags/shop and `broken_dag.py`, runs them, exposes its configuration and tests connections.
Which server that is makes no difference: the same file passes against official Airflow.

What airflowctl 0.1.5 itself does wrong is asserted by `Ctl.fails`, with the reason; then the request that it meant is not
made, or its answer is not read. No server can mend that.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import airflowctl.__main__
from airflowctl.ctl import cli_parser
from test_client import arguments, expect

WAIT_SECONDS = 90
PATH = '{"path": "/"}'


def all_commands() -> set[str]:
    """Group and name of every command, as the program itself lists them."""

    def below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
        groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        return dict(groups[0].choices) if groups else {}

    return {
        f"{group} {name}".strip()
        for group, parser in below(cli_parser.get_parser()).items()
        for name in below(parser) or [""]
    }


class Ctl:
    """Runs commands within this process, as the program `airflowctl` does, and notes which."""

    def __init__(self):
        self.called: set[str] = set()

    def _run(self, command: str) -> tuple[object, str]:
        """How the command ended, nought or none if well, and what it said."""
        words = shlex.split(command)
        self.called |= {words[0], " ".join(words[:2])}
        said, ended = io.StringIO(), 0
        sys.argv = ["airflowctl", *words]
        try:
            with redirect_stdout(said), redirect_stderr(said):
                airflowctl.__main__.main()
        except SystemExit as exit:
            ended = exit.code or 0
        except Exception as error:  # airflowctl's own
            ended = f"{type(error).__name__}: {error}"
        return ended, said.getvalue()

    def says(self, command: str, text: str) -> str:
        """Asserts that a command works and says something."""
        ended, said = self._run(command)
        expect(ended == 0 and text in said, f"`{command}` to say {text!r}", (ended, said))
        return said

    def shows(self, command: str) -> list:
        """The rows of a command that shows some."""
        ended, said = self._run(f"{command} --output json")
        expect(ended == 0, f"`{command}` to work", (ended, said))
        return json.loads(said.splitlines()[-1])

    def fails(self, command: str, text: str, why: str) -> None:
        """Asserts that a command fails by a fault of airflowctl."""
        ended, said = self._run(command)
        expect(ended != 0 and text in f"{ended} {said}", f"`{command}` to fail with {text!r}, since {why}", (ended, said))


def same(found, wanted, what: str) -> None:
    expect(found == wanted, f"{what} ({wanted!r})", found)


def until(what: str, condition):
    """Polls until `condition()` answers something true, and returns that."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := condition()):
        expect(time.monotonic() < deadline, f"{what} within {WAIT_SECONDS} s", found)
        time.sleep(0.3)
    return found


def server(ctl: Ctl, base_url: str, user: str, password: str) -> None:
    """Log-in, version, configuration, and what is installed."""
    credentials = f"--api-url {base_url} --username {user} --password {password}"
    ctl.says(f"auth token {credentials}", "eyJ")
    ctl.says(f"auth login {credentials}", "Login successful")
    same(ctl.shows("auth list-envs")[0]["status"], "authenticated", "the log-in")
    ctl.says("version --remote", "'version': '3.3.")
    parallelism = ctl.shows("config get core parallelism")
    same(parallelism, [{"name": "core", "options": [{"key": "parallelism", "value": "32"}]}], "an option")
    sections = {section["name"] for section in ctl.shows("config list")}
    expect({"core", "celery", "sdk"} <= sections, "sections of Airflow and of providers", sections)
    ctl.says("config lint", "No issues found")
    expect("SchedulerJob" in [job["job_type"] for job in ctl.shows("jobs list")], "the scheduler", None)
    same(ctl.shows("plugins list"), [], "no plugin")
    same(ctl.shows("plugins list-import-errors"), [], "no plugin")
    expect(len(ctl.shows("providers list")) > 3, "providers", None)


def pools(ctl: Ctl, folder: Path) -> None:
    ctl.shows("pools create --name shop --slots 8")
    ctl.shows("pools create --name spare --slots 1 --description d")
    same(ctl.shows("pools get shop")[0]["slots"], "8", "its slots")
    same(ctl.shows("pools update --pool spare --slots 3 --description e")[0]["slots"], "3", "its slots")
    same([pool["name"] for pool in ctl.shows("pools list")], ["default_pool", "shop", "spare"], "three pools")
    ctl.says(f"pools export {folder}/pools.json --output json", "Exported 3 pool(s)")
    ctl.says(f"pools import {folder}/pools.json --action-on-existing-key overwrite", "['default_pool', 'shop', 'spare']")
    same(ctl.shows("pools delete spare"), [{"operation": "delete", "entity": "spare"}], "one pool less")


def variables(ctl: Ctl, folder: Path) -> None:
    ctl.shows("variables create --key region --value eu")
    same(ctl.shows("variables get region")[0]["value"], "eu", "its value")
    same(ctl.shows("variables update --key region --value us")[0]["value"], "us", "its new value")
    (folder / "variables.json").write_text('{"a": "1", "b": {"value": {"x": 1}, "description": "d"}}')
    ctl.says(f"variables import {folder}/variables.json", "success: ['a', 'b']")
    same([variable["key"] for variable in ctl.shows("variables list")], ["region", "a", "b"], "three variables")
    ctl.shows("variables delete region")


def connections(ctl: Ctl, folder: Path) -> None:
    files = f"--connection-id files --conn-type fs --extra '{PATH}'"
    ctl.shows(f"connections create {files}")
    same(ctl.shows("connections get files")[0]["conn_type"], "fs", "its type")
    same(ctl.shows(f"connections update {files} --host h")[0]["host"], "h", "its new host")
    (folder / "connections.json").write_text('{"imported": {"conn_type": "http", "host": "h"}}')
    ctl.says(f"connections import {folder}/connections.json", "Successfully imported ['imported']")
    same([one["connection_id"] for one in ctl.shows("connections list")], ["files", "imported"], "two connections")
    ctl.shows("connections delete imported")
    why = "it prints the answer with an option --output that the command does not have"
    ctl.fails(f"connections test {files} --host h", "has no attribute 'output'", why)
    why = "its method answers nothing, which it then prints"
    ctl.fails("connections create-defaults --output json", "'NoneType' object has no attribute 'values'", why)
    expect(len(ctl.shows("connections list")) > 60, "the default connections all the same", None)


def dags(ctl: Ctl) -> None:
    until("the parsing of all Dags", lambda: len(ctl.shows("dags list")) >= 10)
    until("an import error", lambda: ctl.shows("dags list-import-errors"))
    error = ctl.shows("dags list-import-errors")[0]["import_error_id"]
    same(ctl.shows(f"dags get-import-error {error}")[0]["filename"], "broken_dag.py", "its file")
    same(ctl.shows("dags get pipeline")[0]["is_paused"], "True", "a paused Dag")
    same(ctl.shows("dags get-details pipeline")[0]["max_active_runs"], "4", "its limit")
    same(ctl.shows("dags get-version pipeline 1")[0]["version_number"], "1", "its version")
    same(len(ctl.shows("dags list-version pipeline")), 1, "one version")
    ctl.shows("dags list-warning")
    ctl.says("dags next-execution pipeline", "No upcoming run")
    same(ctl.shows("dags update pipeline --no-is-paused")[0]["is_paused"], "False", "a Dag that runs")
    ctl.says("dags pause daily", "Dag pause successful daily")
    for dag in ("produce", "consume", "consume_both"):
        ctl.says(f"dags unpause {dag}", f"Dag unpause successful {dag}")
    ctl.shows("dags delete no_pool")
    why = "it makes a table of rows, and tags are texts"
    ctl.fails("dags get-tags --output json", "To tabulate non-dictionary data", why)
    # airflowctl makes a list of the letters: it asks for Dags that are called `p`, `i`, and so on.
    same(ctl.shows("dags get-stats pipeline"), [], "no statistics")


def runs(ctl: Ctl) -> None:
    """A run, and its XComs."""
    same(ctl.shows("dags trigger pipeline --dag-run-id one --note n")[0]["note"], "n", "its note")
    until("its end", lambda: ctl.shows("dagrun get pipeline one")[0]["state"] == "success")
    (listed,) = ctl.shows("dagrun list --dag-id pipeline --state success --limit 5")
    same([run["dag_run_id"] for run in listed["dag_runs"]], ["one"], "the run")
    why = "it asks for `limit=` where no limit is given"
    ctl.fails("dagrun list --output json", "unable to parse string as an integer", why)
    why = "it takes the class `datetime` for a function that reads a text"
    ctl.fails("dagrun list --limit 5 --start-date 2026-01-01", "invalid datetime value", why)

    task = "pipeline one values"
    same([xcom["key"] for xcom in ctl.shows(f"xcom list {task}")], ["return_value"], "what the task returned")
    ctl.shows(f"xcom add {task} mine 1")
    same(ctl.shows(f"xcom get {task} mine")[0]["value"], "1", "its value")
    ctl.shows(f"xcom edit {task} mine 2")
    same(ctl.shows(f"xcom get {task} mine")[0]["value"], "2", "its new value")
    ctl.shows(f"xcom delete {task} mine")


def assets(ctl: Ctl) -> None:
    asset = next(asset["id"] for asset in ctl.shows("assets list") if asset["name"] == "orders")
    same(ctl.shows(f"assets get {asset}")[0]["uri"], "s3://shop/orders", "its address")
    same([alias["name"] for alias in ctl.shows("assets list-by-alias")], ["any_orders"], "one alias")
    same(ctl.shows("assets get-by-alias 1")[0]["name"], "any_orders", "the alias")
    same(ctl.shows(f"assets create-event --asset-id {asset}")[0]["name"], "orders", "an event")
    waits = [event["dag_id"] for event in ctl.shows(f"assets get-queued-events {asset}")]
    expect("consume_both" in waits, "what waits for another asset", waits)
    later = "2030-01-01T00:00:00Z"
    same(len(ctl.shows(f"assets get-dag-queued-events consume_both {later}")), 1, "the queued event")
    same(ctl.shows(f"assets get-dag-queued-event consume_both {asset}")[0]["dag_id"], "consume_both", "the same")
    why = "it asks for an address that there is not"
    for command in (
        f"assets delete-queued-event consume_both {asset}",
        f"assets delete-dag-queued-events consume_both {later}",
        f"assets delete-queued-events {asset}",
    ):
        ctl.fails(f"{command} --output json", "'detail': 'Method Not Allowed'", why)
    why = "it prints the answer with an option --output that the command does not have"
    ctl.fails(f"assets materialize {asset}", "has no attribute 'output'", why)
    listed = ctl.shows("dagrun list --dag-id produce --limit 5")
    same(len(listed[0]["dag_runs"]), 1, "the run that makes the asset all the same")


def backfills(ctl: Ctl) -> None:
    """A backfill of a Dag that is paused, so that it does not end meanwhile."""
    days = "--from-date 2026-01-03T00:00:00Z --to-date 2026-01-04T00:00:00Z"
    wanted = f"--dag-id daily {days} --max-active-runs 1 --output json"
    why = "it reads the runs that would be made as if they were the backfill"
    ctl.fails(f"backfill create-dry-run {wanted}", "validation errors for BackfillResponse", why)
    ctl.says(f"backfill create {wanted} --reprocess-behavior none", '"dag_id": "daily"')
    (backfill,) = ctl.shows("backfill list daily")
    same(ctl.shows(f"backfill get {backfill['id']}")[0]["from_date"], "2026-01-03T00:00:00Z", "its first day")
    for command in ("pause", "unpause", "cancel"):
        why = "it sends POST, and Airflow wants PUT"
        ctl.fails(f"backfill {command} {backfill['id']}", "'detail': 'Method Not Allowed'", why)


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as home:
        # In its debug mode airflowctl keeps the token in a file; other modes want a key ring.
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW_CLI_DEBUG_MODE": "true", "AIRFLOW_CLI_API_RETRIES": "1"}
        os.environ |= {"COLUMNS": "10000", "NO_COLOR": "1", "TERM": "dumb"}
        ctl = Ctl()
        server(ctl, options.base_url.rstrip("/"), options.user, options.password)
        pools(ctl, Path(home))
        variables(ctl, Path(home))
        connections(ctl, Path(home))
        dags(ctl)
        runs(ctl)
        assets(ctl)
        backfills(ctl)
    left = all_commands() - ctl.called
    expect(not left, "every command of airflowctl", sorted(left))
    print(f"{len(all_commands())} commands of airflowctl")


if __name__ == "__main__":
    main()
