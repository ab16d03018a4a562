"""Runs official Airflow and records its answers as JSON: `python tests/conformance/record.py`.

See README.md beside this file for what is recorded and in which shape.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import choices
import parsed
from normalise import Normaliser, write
from official import AIRFLOW_VERSION, Official, airflow_package, require_reference_version, working_folder
from runs import Recorder
from scenario import CONFORMANCE, EXAMPLES, STANDARD, Scenario
from scenarios import SCENARIOS, chosen

FOLDER = Path(__file__).resolve().parent
RECORDED = FOLDER / "recorded"
Outcome = TypeVar("Outcome")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", metavar="DAG_ID", help="record the runs of these Dags alone")
    parser.add_argument(
        "--subject", nargs="*", metavar="NAME", help="record dags/NAME.py and the runs of scenarios/NAME.py alone"
    )
    parser.add_argument("--skip-parsed", action="store_true", help="leave files/, serialized/ and shared/ alone")
    parser.add_argument("--skip-runs", action="store_true", help="record no runs but those of --only")
    parser.add_argument("--at-once", type=int, default=8, help="scenarios played at the same time")
    parser.add_argument("--keep", action="store_true", help="keep the temporary Airflow home, and print its path")
    return parser.parse_args()


def bundles(needed: set[str] | None = None) -> dict[str, Path]:
    """The folders of Dag files, by name; all of them or those needed, for what need not be parsed costs time."""
    package = airflow_package()
    folders = {
        EXAMPLES: package / "example_dags",
        STANDARD: package / "providers" / "standard" / "example_dags",
        CONFORMANCE: FOLDER / "dags",
    }
    return {name: path for name, path in folders.items() if needed is None or name in needed}


def record_scenario(official: Official, normalise: Normaliser, scenario: Scenario) -> str | None:
    """Answers what went wrong, so that one scenario does not take the others with it."""
    try:
        recorder = Recorder(official, normalise)
        recording = choices.play(recorder, scenario) if scenario.choices else recorder.play(scenario)
    except Exception as error:
        return f"{scenario.dag_id}: {error}"
    write(RECORDED / "runs" / f"{scenario.dag_id}.json", recording)
    print(f"recorded {scenario.dag_id}", flush=True)
    return None


def make_what_dags_name(official: Official) -> None:
    """The pools and the Variable that conformance Dags name."""
    for pool, slots, include_deferred in (
        ("one_slot", 1, False), ("two_slots", 2, False), ("counts_deferred", 1, True), ("leaves_deferred_out", 1, False)
    ):  # fmt: skip
        body = {"name": pool, "slots": slots, "include_deferred": include_deferred}
        official.rest.call("POST", "/api/v2/pools", body)
    official.rest.call("POST", "/api/v2/variables", {"key": "conformance_seconds", "value": "-3600"})


def play_all(
    official: Official, scenarios: list[Scenario], at_once: int, play: Callable[[Scenario], Outcome]
) -> Iterator[tuple[Scenario, Outcome]]:
    """Plays scenarios side by side, and after these, alone, those that limit what runs at once."""
    beside = [scenario for scenario in scenarios if scenario.parallelism is None]
    with ThreadPoolExecutor(at_once) as players:
        try:
            yield from zip(beside, players.map(play, beside), strict=True)
        except BaseException:
            official.stop()  # otherwise the players would wait for runs that nobody is interested in any more
            raise
    for scenario in scenarios:
        if scenario.parallelism is not None:
            official.limit_parallelism(scenario.parallelism)
            yield scenario, play(scenario)


def record(official: Official, scenarios: list[Scenario], options: argparse.Namespace) -> list[str]:
    normalise = Normaliser(official, FOLDER)
    official.prepare()
    print("parsing every Dag file", flush=True)
    official.run("dag-processor", "--num-runs", "1")
    if not options.skip_parsed and (options.subject or not options.only):
        subjects = [subject for subject in options.subject or () if (FOLDER / "dags" / f"{subject}.py").exists()]
        with official.postgres.connect() as connection:
            parsed.record(connection, normalise, RECORDED, subjects)
    official.start("api-server", "scheduler", "dag-processor", "triggerer")
    official.wait_healthy("scheduler", "dag_processor", "triggerer")
    make_what_dags_name(official)
    if options.skip_runs:
        scenarios = [scenario for scenario in scenarios if scenario.dag_id in (options.only or ())]
    found = play_all(
        official, scenarios, options.at_once, lambda scenario: record_scenario(official, normalise, scenario)
    )
    return [failure for _, failure in found if failure]


def main() -> None:
    options = arguments()
    scenarios = chosen(options.only, options.subject)
    some = {scenario.bundle for scenario in scenarios} | ({CONFORMANCE} if options.subject else set())
    require_reference_version()
    settings = {
        # Part of every serialized Dag, hence of its hash: a fixed path keeps the hashes comparable.
        "AIRFLOW__CORE__DAGS_FOLDER": "/opt/airflow/dags",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(FOLDER / "plugins"),
        "AIRFLOW__CORE__PARALLELISM": "12",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        # How long a supervisor waits for the pipes of a process that is gone already; a minute each otherwise.
        "AIRFLOW__WORKERS__SOCKET_CLEANUP_TIMEOUT": "1",
        # One parse is enough: the files do not change while they are recorded.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    }
    with working_folder("airflow-recorder-", options.keep) as folder:
        official = Official(folder, bundles(None if scenarios is SCENARIOS else some), settings)
        try:
            failures = record(official, scenarios, options)
        finally:
            official.stop()
    if failures:
        sys.exit("not recorded:\n" + "\n".join(failures))
    print(f"recorded official Airflow {AIRFLOW_VERSION} under {RECORDED}")


if __name__ == "__main__":
    main()
