"""Records what official Airflow does when users operate on runs, or does the same on Tradewind and compares.

    python tests/conformance/operate.py record              # official Airflow; about ten minutes on two cores
    python tests/conformance/operate.py replay PROGRAM      # Tradewind; prints how far the answers agree

`--only NAME …` takes some scenarios of `operations.py`. See README.md beside this file for the shape of recordings.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from comparison import differences
from normalise import Normaliser, write
from official import (
    AIRFLOW_VERSION,
    START_TIMEOUT_SECONDS,
    Official,
    require_reference_version,
    wait_until,
    working_folder,
)
from operations import OPERATIONS, Operation
from replay import MOST_DIFFERENCES_SHOWN, plain
from steps import SOURCES, Ended, Player, Settle
from tradewind import Tradewind

FOLDER = Path(__file__).resolve().parent
RECORDED = FOLDER / "recorded" / "operations"
KNOWN = json.loads((FOLDER / "known_differences.json").read_text())

SETTINGS = {
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    # A file is parsed when it is new or has changed, and at no other time.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "1",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
    "AIRFLOW_CONN_FS": "fs://",
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(FOLDER / "plugins"),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, at_once in (("record", 8), ("replay", 8)):
        command = commands.add_parser(name)
        command.add_argument("--only", nargs="*", metavar="NAME", help="these scenarios alone")
        command.add_argument("--at-once", type=int, default=at_once, help="scenarios played at the same time")
        command.add_argument("--keep", action="store_true", help="keep the home folder with its logs")
    commands.choices["replay"].add_argument("program", type=Path, help="the program `tradewind`")
    return parser.parse_args()


def play(official: Official, normalise: Normaliser, operation: Operation) -> dict:
    """Takes the scenario's steps and answers its recording."""
    player = Player(official, normalise, operation.name)
    try:
        player.write_file(operation.source)
        for step in operation.steps:
            step.take(player)
        (Ended() if operation.ends else Settle()).take(player)
        return player.normalise({"source": operation.source, "steps": player.answers, "end": player.facts()})
    finally:
        player.connection.close()


def attempt(official: Official, normalise: Normaliser, operation: Operation) -> dict | str:
    """Answers what went wrong as a text, so that one scenario does not take the others with it."""
    try:
        return play(official, normalise, operation)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def prepare_dags(folder: Path) -> Path:
    """The Dag folder, which holds the operator alone until scenarios write their Dags."""
    dags = folder / "dags"
    dags.mkdir()
    for name in ("controlled.py", ".airflowignore"):
        shutil.copyfile(SOURCES / name, dags / name)
    return dags


def start(official: Official) -> None:
    official.prepare()
    official.start("api-server", "scheduler", "dag-processor", "triggerer")
    wait_until(lambda: official.rest.healthy("scheduler", "dag_processor"), "a healthy Airflow", START_TIMEOUT_SECONDS)
    official.rest.call("POST", "/api/v2/pools", {"name": "two_slots", "slots": 2, "include_deferred": False})


def report(operation: Operation, found: dict | str) -> bool:
    """Prints how the outcome compares with the recorded one; answers whether it is as it should be."""
    if isinstance(found, str):
        lines = [found]
    else:
        lines = differences(json.loads((RECORDED / f"{operation.name}.json").read_text()), plain(found))
    reason = KNOWN.get(f"operations/{operation.name}")
    if lines and reason:
        print(f"known    {operation.name}: {reason}")
    elif lines:
        print(f"DIFFERS  {operation.name}")
        for line in lines[:MOST_DIFFERENCES_SHOWN]:
            print(f"      {line}")
        if len(lines) > MOST_DIFFERENCES_SHOWN:
            print(f"      and {len(lines) - MOST_DIFFERENCES_SHOWN} more")
    elif reason:
        print(f"AGREES NOW, strike it from known_differences.json: operations/{operation.name}")
    return bool(lines) == bool(reason)


def play_all(official: Official, chosen: list[Operation], at_once: int, *, recording: bool) -> int:
    """Plays the scenarios and answers how many were recorded, or are as expected."""
    good = 0
    normalise = Normaliser(official, FOLDER)
    with ThreadPoolExecutor(at_once) as players:
        try:
            found = players.map(lambda operation: attempt(official, normalise, operation), chosen)
            for operation, outcome in zip(chosen, found, strict=True):
                if not recording:
                    good += report(operation, outcome)
                elif isinstance(outcome, str):
                    print(f"not recorded: {outcome}")
                else:
                    good += 1
                    write(RECORDED / f"{operation.name}.json", outcome)
                    print(f"recorded {operation.name}")
                sys.stdout.flush()
        except BaseException:
            official.stop()  # otherwise the players would wait for what nobody is interested in any more
            raise
    return good


def main() -> None:
    options = arguments()
    recording = options.command == "record"
    if recording:
        require_reference_version()
    settings = SETTINGS | {"AIRFLOW__CORE__DAGS_FOLDER": "/opt/airflow/dags"}
    chosen = [operation for operation in OPERATIONS if not options.only or operation.name in options.only]
    with working_folder("airflow-operations-", options.keep) as folder:
        bundles = {"operations": prepare_dags(folder)}
        if recording:
            official = Official(folder, bundles, settings)
        else:
            official = Tradewind(options.program.resolve(), folder, bundles, settings)
        try:
            start(official)
            good = play_all(official, chosen, options.at_once, recording=recording)
        finally:
            official.stop()
    verb = f"recorded of official Airflow {AIRFLOW_VERSION}" if recording else "as expected"
    print(f"operations: {good} of {len(chosen)} {verb}")
    sys.exit(0 if good == len(chosen) else 1)


if __name__ == "__main__":
    main()
