"""Records what the official API server answers: `python tests/api/record.py fill`, then `… answers`.

`fill` runs real Dags and dumps the database, `answers` calls the official server on what was dumped. See README.md.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from server import RECORDED, SETTINGS, OfficialServer, write_passwords

from database import dump
from fill import Filler, prepare_dags
from official import AIRFLOW_VERSION, VENV, require_reference_version
from session import Session, write_recording

SHOWN_HOME = "/opt/airflow"
LOGGED = ("dag_id=pipeline", "dag_id=outcomes")


def fill(folder: Path) -> None:
    dags = prepare_dags(folder)
    official = OfficialServer(folder, {"recorded": dags}, SETTINGS)
    try:
        official.prepare()
        write_passwords(official)
        official.start("api-server", "scheduler", "dag-processor")
        official.wait_healthy("scheduler", "dag_processor")
        Filler(official, dags).fill()
        shown = {str(official.home): SHOWN_HOME, str(folder): SHOWN_HOME, official.base_url: "http://localhost:8080"}
        shown |= {str(venv): "${VENV}" for venv in (VENV, VENV.resolve())}
        dump(official.postgres, RECORDED / "database.sql.gz", shown)
        shutil.rmtree(RECORDED / "logs", ignore_errors=True)
        for name in LOGGED:
            shutil.copytree(official.home / "logs" / name, RECORDED / "logs" / name)
        for log in (RECORDED / "logs").rglob("*.log"):
            text = log.read_text()
            for found, written in shown.items():
                text = text.replace(found, written)
            log.write_text(text)
    finally:
        official.stop()


def answers(folder: Path, only: list[str] | None) -> None:
    official = OfficialServer(folder, {"recorded": folder}, SETTINGS)
    session = Session(official)
    try:
        session.start()
        for subject, found in session.play(only):
            write_recording(subject, found)
            print(f"recorded {subject}: {len(found)} cases", flush=True)
    finally:
        official.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["fill", "answers"])
    parser.add_argument("--only", nargs="*", metavar="SUBJECT", help="these modules of cases/ alone")
    parser.add_argument("--keep", action="store_true", help="keep the home folder with its logs")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    require_reference_version()
    folder = Path(tempfile.mkdtemp(prefix="airflow-api-"))
    folder.chmod(0o755)
    try:
        fill(folder) if options.command == "fill" else answers(folder, options.only)
    finally:
        if options.keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"recorded official Airflow {AIRFLOW_VERSION} under {RECORDED}")


if __name__ == "__main__":
    main()
