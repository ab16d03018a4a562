"""Asks Tradewind what official Airflow was asked, and compares: `python tests/api/replay.py PROGRAM`.

Writes docs/api-coverage.md with `--write`; without, it fails when that file is not as it would be written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from server import FOLDER, SETTINGS, TradewindServer

from comparable import comparable
from comparison import differences
from contract import Contract
from coverage import PAGE, Agreement, page
from data_set import DATA_SETS, DataSet
from official import working_folder
from session import Session, asked, label, read_recording

KNOWN = FOLDER / "known_differences.json"
MOST_LINES = 6


def known_differences() -> dict[str, str]:
    """By label of a case, why it differs."""
    groups = json.loads(KNOWN.read_text())
    return {case: group["reason"] for group in groups for case in group["cases"]}


def compare(expected: dict, found: dict) -> list[str]:
    """Where two answers differ. Where the official server fails, Tradewind has to answer, whatever it says."""
    if expected["status"] >= 500:
        return [f"status: {found['status']}"] if found["status"] >= 500 else []
    return differences(comparable(expected), comparable(json.loads(json.dumps(found))))


class Report:
    def __init__(self, known: dict[str, str], found_at: Path | None):
        self.known = known
        self.agreement: dict[str, Agreement] = {}
        self.unexpected: list[str] = []
        self.reasons: Counter[str] = Counter()
        self.found_at = open(found_at, "w") if found_at else None

    def add(self, expected: dict, found: dict) -> None:
        name = label(expected["request"])
        if invalid := found.pop("invalid"):  # no difference is known of these
            self.unexpected.append(name)
            print(f"INVALID  {name}: {invalid}")
        lines = compare(expected, found)
        agreement = self.agreement.setdefault(expected["operation"], Agreement())
        agreement.cases += 1
        agreement.agree += not lines
        reason = self.known.get(name)
        if lines and reason:
            self.reasons[reason] += 1
        elif lines:
            self.unexpected.append(name)
            print(f"DIFFERS  {name}")
            for line in lines[:MOST_LINES]:
                print(f"      {line}")
            if len(lines) > MOST_LINES:
                print(f"      and {len(lines) - MOST_LINES} more")
        elif reason:
            self.unexpected.append(name)
            print(f"AGREES NOW, strike it from {KNOWN.name}: {name}")
        if lines and self.found_at:
            self.found_at.write(json.dumps({"case": name, "operation": expected["operation"], "lines": lines}) + "\n")


def play(program: Path, data: DataSet, folder: Path, report: Report, only: list[str] | None) -> None:
    server = TradewindServer(program, folder, {name: folder for name in data.bundles}, SETTINGS | data.options)
    session = Session(server, data)
    try:
        for subject, found in session.play(only):
            recorded = read_recording(subject)
            asked_for = [answer["request"] for answer in found]
            if [answer["request"] for answer in recorded] != asked_for:
                raise RuntimeError(f"the cases of {subject} have changed: record its answers anew")
            for expected, answer in zip(recorded, found, strict=True):
                report.add(expected, answer)
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="the program `tradewind`")
    parser.add_argument("--only", nargs="*", metavar="SUBJECT", help="these modules of cases/ alone")
    parser.add_argument("--write", action="store_true", help="write docs/api-coverage.md")
    parser.add_argument("--found", type=Path, help="write every difference to this file, a JSON object a line")
    options = parser.parse_args()
    report = Report(known_differences(), options.found)
    for data in DATA_SETS:
        if asked(data, options.only):
            with working_folder("tradewind-api-", keep=False) as folder:
                play(options.program.resolve(), data, folder, report, options.only)
    text = page(Contract().operations, report.agreement, report.reasons)
    print(text)
    failed = bool(report.unexpected)
    if options.write:
        PAGE.write_text(text)
    elif not options.only and PAGE.read_text() != text:
        print("docs/api-coverage.md is not true any more: run this with --write")
        failed = True
    print(f"{len(report.unexpected)} cases are not as expected")
    sys.exit(failed)


if __name__ == "__main__":
    main()
