"""Records what the official API server answers: `python tests/api/record.py fill`, then `… answers`.

`fill` runs real Dags and dumps the database, `answers` calls the official server on what was dumped. See README.md.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from server import RECORDED, SETTINGS, OfficialServer, write_passwords

from data_set import CORNERS, DATA_SETS, SHOP, DataSet
from database import dump
from fill import Filler, prepare_dags
from fill_corners import CornerFiller
from fill_shop import ShopFiller
from official import AIRFLOW_VERSION, VENV, require_reference_version, working_folder
from session import Session, asked, write_recording

SHOWN_HOME = "/opt/airflow"
FILLERS: dict[str, type[Filler]] = {SHOP.name: ShopFiller, CORNERS.name: CornerFiller}


def fill(data: DataSet, folder: Path) -> None:
    dags = prepare_dags(data, folder)
    bundles = {name: dags / path for name, path in data.bundles.items()}
    official = OfficialServer(folder, bundles, SETTINGS | data.options)
    try:
        official.prepare()
        write_passwords(official)
        official.start("api-server", "scheduler", "dag-processor")
        official.wait_healthy("scheduler", "dag_processor")
        FILLERS[data.name](official, dags).fill()
        shown = {str(official.home): SHOWN_HOME, str(folder): SHOWN_HOME, official.base_url: "http://localhost:8080"}
        shown |= {str(venv): "${VENV}" for venv in (VENV, VENV.resolve())}
        data.recorded.mkdir(parents=True, exist_ok=True)
        dump(official.postgres, data.dump, shown)
        copy_logs(data, official.home / "logs", shown)
    finally:
        official.stop()


def copy_logs(data: DataSet, found: Path, shown: dict[str, str]) -> None:
    logs = data.recorded / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    for name in data.logs:
        shutil.copytree(found / name, logs / name)
    for log in logs.rglob("*.log"):
        text = log.read_text()
        for path, written in shown.items():
            text = text.replace(path, written)
        log.write_text(text)


def answers(data: DataSet, folder: Path, only: list[str] | None) -> None:
    official = OfficialServer(folder, {name: folder for name in data.bundles}, SETTINGS | data.options)
    session = Session(official, data)
    try:
        for subject, found in session.play(only):
            write_recording(subject, found)
            print(f"recorded {subject}: {len(found)} cases", flush=True)
    finally:
        official.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["fill", "answers"])
    parser.add_argument("--data", choices=[data.name for data in DATA_SETS], help="this set of data alone")
    parser.add_argument("--only", nargs="*", metavar="SUBJECT", help="these modules of cases/ alone")
    parser.add_argument("--keep", action="store_true", help="keep the home folder with its logs")
    options = parser.parse_args()
    require_reference_version()
    for data in DATA_SETS:
        if options.data in (None, data.name) and (options.command == "fill" or asked(data, options.only)):
            with working_folder("airflow-api-", options.keep) as folder:
                fill(data, folder) if options.command == "fill" else answers(data, folder, options.only)
    print(f"recorded official Airflow {AIRFLOW_VERSION} under {RECORDED}")


if __name__ == "__main__":
    main()
