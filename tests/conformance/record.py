"""Runs official Airflow and records its answers as JSON: `python tests/conformance/record.py`.

See README.md beside this file for what is recorded and in which shape.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import choices
import parsed
from normalise import Normaliser, write
from official import AIRFLOW_VERSION, Official, airflow_package, require_reference_version
from runs import Recorder
from scenarios import CONFORMANCE, EXAMPLES, SCENARIOS, STANDARD, Scenario

FOLDER = Path(__file__).resolve().parent
RECORDED = FOLDER / "recorded"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", metavar="DAG_ID", help="record the runs of these Dags alone")
    parser.add_argument("--skip-parsed", action="store_true", help="leave dags.json, shared.json, serialized/ alone")
    parser.add_argument("--at-once", type=int, default=4, help="scenarios played at the same time")
    parser.add_argument("--keep", action="store_true", help="keep the temporary Airflow home, and print its path")
    return parser.parse_args()


def bundles() -> dict[str, Path]:
    package = airflow_package()
    return {
        EXAMPLES: package / "example_dags",
        STANDARD: package / "providers" / "standard" / "example_dags",
        CONFORMANCE: FOLDER / "dags",
    }


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


def record(official: Official, options: argparse.Namespace) -> list[str]:
    normalise = Normaliser(official, FOLDER)
    official.prepare()
    print("parsing every Dag file", flush=True)
    official.run("dag-processor", "--num-runs", "1")
    if not options.skip_parsed:
        with official.postgres.connect() as connection:
            parsed.record(connection, normalise, RECORDED)
    official.start("api-server", "scheduler", "dag-processor", "triggerer")
    official.wait_healthy("scheduler", "dag_processor", "triggerer")
    for pool, slots in (("one_slot", 1), ("two_slots", 2)):
        body = {"name": pool, "slots": slots, "include_deferred": False}
        official.rest.call("POST", "/api/v2/pools", body)
    chosen = [scenario for scenario in SCENARIOS if not options.only or scenario.dag_id in options.only]
    with ThreadPoolExecutor(options.at_once) as players:
        try:
            failures = players.map(lambda scenario: record_scenario(official, normalise, scenario), chosen)
            return [failure for failure in failures if failure]
        except BaseException:
            official.stop()  # otherwise the players would wait for runs that nobody is interested in any more
            raise


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    require_reference_version()
    folder = Path(tempfile.mkdtemp(prefix="airflow-recorder-"))
    folder.chmod(0o755)
    official = Official(
        folder,
        bundles(),
        {
            # Part of every serialized Dag, hence of its hash: a fixed path keeps the hashes comparable.
            "AIRFLOW__CORE__DAGS_FOLDER": "/opt/airflow/dags",
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(FOLDER / "plugins"),
            "AIRFLOW__CORE__PARALLELISM": "6",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            # One parse is enough: the files do not change while they are recorded.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
        },
    )
    try:
        failures = record(official, options)
    finally:
        official.stop()
        if options.keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if failures:
        sys.exit("not recorded:\n" + "\n".join(failures))
    print(f"recorded official Airflow {AIRFLOW_VERSION} under {RECORDED}")


if __name__ == "__main__":
    main()
