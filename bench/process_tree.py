"""Memory and processor time of a process and all its descendants, from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MEGABYTE = 1024 * 1024


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may itself hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def tree(roots: list[int], folder: Path) -> set[int]:
    """Descendants of `roots`, and of every process whose command line names `folder`: a database server that was
    started in the background is nobody's child any more, but it is named after its data folder."""
    children: dict[int, list[int]] = {}
    members = list(roots)
    for pid in _all_pids():
        try:
            children.setdefault(int(_stat(pid)[1]), []).append(pid)
            if pid != os.getpid() and str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                members.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    found: set[int] = set()
    while members:
        pid = members.pop()
        if pid not in found:
            found.add(pid)
            members += children.get(pid, [])
    return found


@dataclass
class Usage:
    processes: int
    rss_mb: float
    """Resident memory of each process, added: pages that several share count several times."""
    pss_mb: float
    """Proportional set size, added: what the machine would get back."""
    cpu_percent: float
    """Of one core."""


def _memory(pid: int) -> tuple[float, float]:
    rss = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES / MEGABYTE
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return rss, pss


def _cpu_seconds(pids: set[int]) -> float:
    """Own time and that of children already waited for, so that nothing is lost when a child ends in between."""
    ticks = 0
    for pid in pids:
        try:
            ticks += sum(int(field) for field in _stat(pid)[11:15])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ticks / TICKS_PER_SECOND


def measure(roots: list[int], folder: Path, seconds: float) -> Usage:
    """Watches for `seconds`; memory is taken at the end."""
    began, before = time.monotonic(), _cpu_seconds(tree(roots, folder))
    time.sleep(seconds)
    pids = tree(roots, folder)
    percent = 100 * (_cpu_seconds(pids) - before) / (time.monotonic() - began)
    memory = []
    for pid in pids:
        try:
            memory.append(_memory(pid))
        except (FileNotFoundError, ProcessLookupError, StopIteration):
            continue  # ended meanwhile, or a zombie, which holds no memory
    return Usage(len(memory), sum(rss for rss, _ in memory), sum(pss for _, pss in memory), percent)
