"""Tradewind and official Airflow side by side on this machine: `make bench`.

See README.md beside this file for what is measured.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from process_tree import Usage, measure
from systems import REPOSITORY, OfficialAirflow, Tradewind, wait_until

FIB_10 = 55
RUN_TIMEOUT_SECONDS = 300
PARSE_TIMEOUT_SECONDS = 120
SETTLE_SECONDS = 10

# What `--gate` asks of Tradewind.
LEAST_RATIO = 12.0
MOST_IDLE_MB = 400.0
MOST_IDLE_CPU_PERCENT = 2.0


@dataclass
class Chain:
    """One run of the chain, in seconds."""

    wall: float
    """From sending the trigger to seeing the end of the run."""
    run: float
    """From `queued_at` to `end_date` of the Dag run."""
    tasks: float
    """From the start of the first task to the end of the last."""


@dataclass
class Result:
    system: str
    chains: list[Chain]
    idle: Usage

    def median(self) -> float:
        return statistics.median(chain.run for chain in self.chains)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("official", "tradewind"), help="measure one of the two")
    parser.add_argument("--runs", type=int, default=3, help="measured runs of the chain, of which the median counts")
    parser.add_argument("--idle-seconds", type=float, default=30, help="how long to watch the idle system")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / "target" / "dist" / "tradewind")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--gate", action="store_true", help="fail when Tradewind misses its goals")
    return parser.parse_args()


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _run(rest, dag_id: str, run_id: str) -> Chain:
    path = f"/api/v2/dags/{dag_id}/dagRuns"

    def ended():
        run = rest.call("GET", f"{path}/{run_id}")
        return run if run["state"] in ("success", "failed") else None

    began = time.monotonic()
    rest.call("POST", path, {"dag_run_id": run_id, "logical_date": None})
    run = wait_until(ended, f"the end of {dag_id}", RUN_TIMEOUT_SECONDS, 0.05)
    wall = time.monotonic() - began
    tasks = rest.call("GET", f"{path}/{run_id}/taskInstances?limit=100")["task_instances"]
    states = {task["state"] for task in tasks}
    if run["state"] != "success" or states != {"success"}:
        raise RuntimeError(f"{dag_id} {run_id} ended in {run['state']}, its tasks in {states}")
    return Chain(
        wall,
        _moment(run["end_date"]) - _moment(run["queued_at"]),
        max(_moment(task["end_date"]) for task in tasks) - min(_moment(task["start_date"]) for task in tasks),
    )


def _check_result(rest, run_id: str) -> None:
    """A chain that computes nothing would be fast, too."""
    path = f"/api/v2/dags/chain/dagRuns/{run_id}/taskInstances/fib_39/xcomEntries/return_value"
    value = rest.call("GET", path)["value"]
    if int(value) != FIB_10:
        raise RuntimeError(f"fib(10) is {FIB_10}, the last task of {run_id} returned {value!r}")


def _unpause(rest, dag_id: str) -> None:
    def known() -> bool:
        dags = rest.call("GET", f"/api/v2/dags?dag_id_pattern={dag_id}")["dags"]
        return any(dag["dag_id"] == dag_id for dag in dags)

    wait_until(known, f"the parsing of {dag_id}", PARSE_TIMEOUT_SECONDS)
    rest.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})


def bench(system, options: argparse.Namespace) -> Result:
    print(f"{system.name}: starting", flush=True)
    try:
        system.start()
        for dag_id in ("warm_up", "chain"):
            _unpause(system.rest, dag_id)
        _run(system.rest, "warm_up", "warm_up")
        chains = []
        for number in range(options.runs):
            chains.append(_run(system.rest, "chain", f"bench_{number}"))
            _check_result(system.rest, f"bench_{number}")
            print(f"{system.name}: chain {number + 1} took {chains[-1].run:.2f} s", flush=True)
        time.sleep(SETTLE_SECONDS)
        idle = measure(system.pids(), system.folder, options.idle_seconds)
    finally:
        system.stop()
    return Result(system.name, chains, idle)


def report(results: list[Result]) -> None:
    print(f"\n{'':34}{'run s':>9}{'tasks s':>9}{'wall s':>9}{'RSS MB':>9}{'PSS MB':>9}{'CPU %':>8}")
    for result in results:
        tasks = statistics.median(chain.tasks for chain in result.chains)
        wall = statistics.median(chain.wall for chain in result.chains)
        idle = result.idle
        print(
            f"{result.system:34}{result.median():9.2f}{tasks:9.2f}{wall:9.2f}"
            f"{idle.rss_mb:9.0f}{idle.pss_mb:9.0f}{idle.cpu_percent:8.2f}"
        )
    if len(results) == 2:
        print(f"\nTradewind runs the chain {results[0].median() / results[1].median():.1f} times as fast.")


def missed_goals(results: list[Result]) -> list[str]:
    missed = []
    tradewind = results[-1]
    if len(results) == 2 and (ratio := results[0].median() / tradewind.median()) < LEAST_RATIO:
        missed.append(f"the chain is {ratio:.1f} times as fast, the goal is {LEAST_RATIO}")
    if tradewind.idle.pss_mb > MOST_IDLE_MB:
        missed.append(f"idle memory is {tradewind.idle.pss_mb:.0f} MB, the goal is {MOST_IDLE_MB:.0f} MB")
    if tradewind.idle.cpu_percent > MOST_IDLE_CPU_PERCENT:
        missed.append(f"idle CPU is {tradewind.idle.cpu_percent:.2f} %, the goal is {MOST_IDLE_CPU_PERCENT} %")
    return missed


def main() -> None:
    options = arguments()
    folder = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    folder.chmod(0o755)  # Postgres runs as another user
    systems = {}
    if options.only != "tradewind":
        systems["official"] = OfficialAirflow(folder / "official")
    if options.only != "official":
        systems["tradewind"] = Tradewind(folder / "tradewind", options.binary)
    try:
        results = []
        for system in systems.values():
            system.folder.mkdir()
            results.append(bench(system, options))
    finally:
        if sys.exc_info()[0] is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs are kept in {folder}", file=sys.stderr)
    report(results)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    if options.gate and "tradewind" in systems and (missed := missed_goals(results)):
        sys.exit("\n".join(missed))


if __name__ == "__main__":
    main()
