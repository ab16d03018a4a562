"""The same visits to the official UI on official Airflow and on Tradewind, side by side.

    python tests/browser/compare.py PROGRAM [--only EXPRESSION] [--keep]      # with .venv's Python

Runs the Dags of `tests/browser/dags` on each, then visits all pages (`test_pages.py`). Says which visits fail on which of
them, and where the requests that a page makes to the API differ: other addresses, or another status.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "conformance"))

from official import REPOSITORY, Official, require_reference_version, wait_until, working_folder  # noqa: E402
from tradewind import Tradewind  # noqa: E402

VISITING = REPOSITORY / ".venv-test" / "bin" / "python"
# As tests/tests/browser.rs has them.
OPTIONS = {
    "AIRFLOW__API__EXPOSE_CONFIG": "non-sensitive-only",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,op:op,user:user,viewer:viewer",
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
    "AIRFLOW__API_AUTH__JWT_CLI_EXPIRATION_TIME": "1",
    "AIRFLOW__API_AUTH__JWT_LEEWAY": "0",
    # What official Airflow looks at only now and then shall be seen as soon as the visits expect it.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "1",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "1",
}
USERS = ("admin", "op", "user", "viewer")
DAGS = ("invoices", "orders", "recipe", "fragile", "approval", "chatter", "errands", "bread", "harvest")
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
DELIVERIES = (("flour", "north"), ("yeast", "north"), ("flour", "south"), ("flour", "west"))
WAIT_SECONDS = 180
# Official Airflow takes longer for what its Dags have to do.
PATIENCE_SECONDS = 120


class Preparation:
    """Brings the Dags of a running installation into the state that the visits expect, as tests/tests/browser.rs does."""

    def __init__(self, installation: Official, dags: Path):
        self.call = installation.rest.call
        self.dags = dags

    def run(self) -> None:
        for dag_id in DAGS:
            self._until(lambda: self._known(dag_id), f"the parsing of {dag_id}")
            self.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})
        self._runs_are("invoices", 1, "success")
        for dag_id in ("orders", "recipe", "fragile", "approval", "chatter", "errands"):
            self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": "first", "logical_date": None})
        for dag_id, count, state in (
            ("orders", 2, "success"),
            ("invoices", 2, "success"),
            ("recipe", 1, "success"),
            ("fragile", 1, "failed"),
            ("errands", 1, "success"),
        ):
            self._runs_are(dag_id, count, state)
        for dag_id, task_id, state in (("approval", "ask", "awaiting_input"), ("chatter", "talk", "running")):
            path = f"/api/v2/dags/{dag_id}/dagRuns/first/taskInstances/{task_id}"
            self._until(lambda: self.call("GET", path)["state"] == state, f"{state} of {dag_id} {task_id}")
        errors = lambda: self.call("GET", "/api/v2/importErrors")["total_entries"] == 1  # noqa: E731
        self._until(errors, "the import error")
        for asset, region in DELIVERIES:
            known = self.call("GET", f"/api/v2/assets?name_pattern={asset}")["assets"][0]["id"]
            self.call("POST", "/api/v2/assets/events", {"asset_id": known, "partition_key": region})
        self._runs_are("bread", 1, "success")
        self._add_a_version()

    def _add_a_version(self) -> None:
        file = self.dags / "recipe.py"
        task = '    @task\n    def fry() -> None:\n        print("it fries")\n\n    fry()\n'
        file.write_text(file.read_text().replace("    boil()\n", f"    boil()\n\n{task}"))
        versions = lambda: self.call("GET", "/api/v2/dags/recipe/dagVersions")["total_entries"] == 2  # noqa: E731
        self._until(versions, "the second version of recipe")

    def _known(self, dag_id: str) -> bool:
        return any(dag["dag_id"] == dag_id for dag in self.call("GET", "/api/v2/dags?limit=100")["dags"])

    def _runs_are(self, dag_id: str, count: int, state: str) -> None:
        def reached() -> bool:
            runs = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
            return len(runs) == count and all(run["state"] == state for run in runs)

        self._until(reached, f"{count} runs of {dag_id} in state {state}")

    def _until(self, condition, what: str) -> None:
        wait_until(condition, what, WAIT_SECONDS)


def visit(installation: Official, folder: Path, dags: Path, only: str) -> dict:
    """By visit, whether it found what it expects, and the requests of the pages with their statuses."""
    try:
        installation.prepare()
        passwords = installation.home / "simple_auth_manager_passwords.json.generated"
        passwords.write_text(json.dumps({user: user for user in USERS}))
        installation.start(*COMPONENTS)
        installation.wait_healthy("scheduler", "dag_processor")
        Preparation(installation, dags).run()
        told = folder / "visits.json"
        command = [VISITING, FOLDER / "test_pages.py", installation.base_url, "admin", "admin", folder]
        command += [folder / "screenshots", "--only", only, "--tell", told, "--patience", str(PATIENCE_SECONDS)]
        subprocess.run(command, check=False)
        return json.loads(told.read_text())
    finally:
        installation.stop()


def statuses(requests: Iterable[str]) -> dict[str, set[str]]:
    """By what was asked for, the statuses of the answers."""
    answers: dict[str, set[str]] = {}
    for request in requests:
        status, asked = request.split(" ", 1)
        answers.setdefault(asked, set()).add(status)
    return answers


def asked_anywhere(visits: dict) -> set[str]:
    return set(statuses(request for visit in visits.values() for request in visit["requests"]))


def differences(official: dict, ours: dict) -> tuple[list[str], list[str]]:
    """What differs, and what may be chance: a page that is left sooner, or refreshes once more, asks for less or more. It is
    none if the other side is never asked for it, or answers it with another status."""
    lines, chances = [], []
    anywhere = {"official Airflow": asked_anywhere(official), "Tradewind": asked_anywhere(ours)}
    for name, visit in official.items():
        sides = {"official Airflow": visit, "Tradewind": ours[name]}
        good = {"good" if side["good"] else "failed" for side in sides.values()}
        if good != {"good"}:
            lines.append(f"{name}: " + ", ".join(f"{'good' if v['good'] else 'failed'} on {s}" for s, v in sides.items()))
        there, here = (statuses(side["requests"]) for side in sides.values())
        for asked in sorted(there.keys() & here.keys()):
            if there[asked] != here[asked]:
                of_both = [", ".join(sorted(side[asked])) for side in (there, here)]
                lines.append(f"{name}: {asked}: {of_both[0]} from official Airflow, {of_both[1]} from Tradewind")
        for asked in sorted(there.keys() ^ here.keys()):
            side, other = list(sides) if asked in there else reversed(list(sides))
            (chances if asked in anywhere[other] else lines).append(f"{name}: {asked}: of {side} only")
    return lines, chances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="the program `tradewind`")
    parser.add_argument("--only", default="", help="visits whose name matches this expression")
    parser.add_argument("--keep", action="store_true", help="keep the folders, with logs and screenshots")
    options = parser.parse_args()
    require_reference_version()
    told = []
    with working_folder("airflow-visits-", options.keep) as folder:
        for side in ("official", "tradewind"):
            own = folder / side
            dags = Path(shutil.copytree(FOLDER / "dags", own / "dags", ignore=shutil.ignore_patterns("__pycache__")))
            settings = OPTIONS | {
                "AIRFLOW__CORE__PLUGINS_FOLDER": str(FOLDER / "plugins"),
                "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            }
            bundles = {"dags-folder": dags}
            if side == "official":
                installation = Official(own, bundles, settings)
            else:
                installation = Tradewind(options.program.resolve(), own, bundles, settings)
            print(f"{side}:", flush=True)
            told.append(visit(installation, own, dags, options.only))
    official, ours = told
    requests = sum(len(visit["requests"]) for visit in official.values())
    lines, chances = differences(official, ours)
    print("asked for in this visit on one side only, and in another visit on the other:", *chances, sep="\n  ")
    print("differences:", *lines, sep="\n  ")
    print(f"{len(official)} visits with {requests} different requests; {len(lines)} differences")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
