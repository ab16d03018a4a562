"""Does on Tradewind what was recorded of official Airflow, and prints how far the answers agree.

`python tests/conformance/replay.py PROGRAM` runs every scenario; `--only DAG_ID …` some of them. The exit code is 0 when
everything agrees but what `known_differences.json` names, with a reason each; a difference named there that no longer
exists is an error, too.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import choices
import parsed
from comparison import differences
from normalise import Normaliser
from official import working_folder
from record import FOLDER, RECORDED, bundles, make_what_dags_name, play_all
from runs import Recorder, without_path
from scenario import Scenario
from scenarios import SCENARIOS, chosen
from tradewind import Tradewind

KNOWN = json.loads((FOLDER / "known_differences.json").read_text())
MOST_DIFFERENCES_SHOWN = 12
# Shorter than the recorder's: Tradewind does at once what official Airflow does in its next turn, and sweeps every 5 s.
QUIET_SECONDS = 7


def plain(value):
    """The value as it is after a way through JSON, as the recorded one."""
    return json.loads(json.dumps(value))


def without_chance(recording: dict) -> dict:
    """The recording without what Python's random order of sets decides: which task `LatestOnlyOperator` names first."""
    for run in recording.get("runs", []):
        for task in run.get("task_instances", {}).values():
            if task["operator"] == "LatestOnlyOperator" and isinstance(
                names := task.get("xcoms", {}).get("return_value", {}).get("value"), list
            ):
                names.sort()
    return recording


def replay_scenario(tradewind: Tradewind, normalise: Normaliser, scenario: Scenario) -> list[str]:
    recording = RECORDED / "runs" / f"{scenario.dag_id}.json"
    if not recording.exists():
        return ["was never recorded"]
    expected = json.loads(recording.read_text())
    recorder = Recorder(tradewind, normalise, QUIET_SECONDS)
    try:
        if scenario.choices:
            found = choices.replay(recorder, scenario, expected)
            expected = found.pop("expected")
        else:
            found = recorder.play(scenario)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    finally:
        recorder.connection.close()
    try:
        return differences(without_chance(expected), without_chance(plain(found)))
    except (KeyError, TypeError) as error:
        return [f"has another shape: {error!r}"]


def portable(path: Path) -> dict:
    """What was stored, without what differs between folders and days: the name Airflow gives the module of a Dag file,
    which holds a hash of the file's path, and the hash of a Dag that names such a module, the interpreter, the day or a deadline alert."""
    text = without_path(path.read_text())
    if path.suffix == ".jsonl":
        return {"rows": [json.loads(line) for line in sorted(text.splitlines())]}
    facts = json.loads(text)
    for version in facts.get("versions", []):
        text = json.dumps(version["data"])
        if any(name in text for name in ("${PYTHON}", "${TODAY}", "${ID}", "unusual_prefix_${PATH}_")):
            del version["dag_hash"]
    return facts


def replay_parsed(tradewind: Tradewind, normalise: Normaliser, folder: Path) -> dict[str, list[str]]:
    """What the Dag processor wrote, by subject."""
    with tradewind.postgres.connect() as connection:
        parsed.record(connection, normalise, folder)
    found = {}
    kinds = ("files", "serialized", "shared")
    for recorded in sorted(path for kind in kinds for path in (RECORDED / kind).rglob("*.json*")):
        name = recorded.relative_to(RECORDED)
        answer = folder / name
        subject = str(name.with_suffix(""))
        if answer.exists():
            found[subject] = differences(portable(recorded), portable(answer))
        else:
            found[subject] = ["nothing was stored"]
    return found


def replay(tradewind: Tradewind, scenarios: list[Scenario], folder: Path, at_once: int) -> dict[str, list[str]]:
    normalise = Normaliser(tradewind, FOLDER)
    tradewind.prepare()
    tradewind.start()
    answers: dict[str, list[str]] = {}
    if scenarios is SCENARIOS:
        tradewind.wait_parsed(sum(1 for _ in (RECORDED / "files").rglob("*.json")))
        answers = replay_parsed(tradewind, normalise, folder / "parsed")
    else:
        tradewind.wait_for_dags({dag_id for scenario in scenarios for dag_id in (scenario.dag_id, *scenario.consumers)})
    make_what_dags_name(tradewind)
    found = play_all(
        tradewind, scenarios, at_once, lambda scenario: replay_scenario(tradewind, normalise, scenario)
    )
    for scenario, lines in found:
        answers[f"runs/{scenario.dag_id}"] = lines
        if lines:
            print(f"differs  runs/{scenario.dag_id}: {lines[0]}", flush=True)
    return answers


def report(answers: dict[str, list[str]]) -> bool:
    """Prints the table of agreement; answers whether it is as it should be."""
    wrong = False
    print("\nagreement with official Airflow 3.3.2")
    for group in ("serialized", "runs"):
        subjects = [subject for subject in answers if subject.startswith(f"{group}/")]
        agreed = sum(not answers[subject] for subject in subjects)
        print(f"  {group:12} {agreed}/{len(subjects)}")
    for subject, lines in answers.items():
        reason = KNOWN.get(subject)
        if lines and reason:
            print(f"  known: {subject}: {reason}")
        elif lines:
            wrong = True
            print(f"  DIFFERS: {subject}")
            for line in lines[:MOST_DIFFERENCES_SHOWN]:
                print(f"      {line}")
            if len(lines) > MOST_DIFFERENCES_SHOWN:
                print(f"      and {len(lines) - MOST_DIFFERENCES_SHOWN} more")
        elif reason:
            wrong = True
            print(f"  AGREES NOW, strike it from known_differences.json: {subject}")
    return not wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="the program `tradewind`")
    parser.add_argument("--only", nargs="*", metavar="DAG_ID", help="replay the runs of these Dags alone")
    parser.add_argument("--subject", nargs="*", metavar="NAME", help="replay scenarios/NAME.py alone")
    parser.add_argument("--at-once", type=int, default=16, help="scenarios played at the same time")
    parser.add_argument("--keep", action="store_true", help="keep the home folder with its logs, and print its path")
    options = parser.parse_args()
    settings = {
        "AIRFLOW__CORE__DAGS_FOLDER": "/opt/airflow/dags",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(FOLDER / "plugins"),
        "AIRFLOW__CORE__PARALLELISM": "12",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    }
    scenarios = chosen(options.only, options.subject)
    with working_folder("tradewind-replay-", options.keep) as folder:
        tradewind = Tradewind(options.program.resolve(), folder, bundles(), settings)
        try:
            answers = replay(tradewind, scenarios, folder, options.at_once)
        finally:
            tradewind.stop()
    sys.exit(0 if report(answers) else 1)


if __name__ == "__main__":
    main()
