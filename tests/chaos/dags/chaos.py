"""Dags whose tasks leave evidence of every attempt, whatever kills it.

Each attempt appends to a file of its task instance when it starts and when it ends, and holds the file's lock in between:
the kernel lets it go when the process dies, however that happens. Two attempts at once, or one attempt twice, show.
"""

import fcntl
import json
import os
import random
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, get_current_context, task

# What is killed is tried again until it comes through.
DEFAULTS = {"retries": 200, "retry_delay": timedelta(0)}


@contextmanager
def evidence():
    ti = get_current_context()["ti"]
    name = f"{ti.dag_id}.{ti.run_id}.{ti.task_id}.{ti.map_index}"
    file = os.open(Path(os.environ["CHAOS_FOLDER"]) / f"{name}.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def record(event):
        facts = {
            "task_instance": name, "event": event, "try_number": ti.try_number, "id": str(ti.id), "pid": os.getpid(),
            "at": time.monotonic(),
        }  # fmt: skip
        os.write(file, f"{json.dumps(facts)}\n".encode())

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        record("overlap")
    record("start")
    yield
    record("end")
    os.close(file)


@task
def work(seconds=None):
    with evidence():
        time.sleep(random.uniform(0.02, 0.3) if seconds is None else seconds)


@dag(schedule=None, default_args=DEFAULTS, max_active_runs=3)
def chain():
    """One after the other."""
    steps = [work.override(task_id=f"step_{number}")() for number in range(8)]
    for before, after in zip(steps, steps[1:]):
        before >> after


@dag(schedule=None, default_args=DEFAULTS, max_active_runs=100)
def narrow():
    """Pools that are too small for what wants in."""
    for number in range(5):
        work.override(task_id=f"small_{number}", pool="two_slots")()
    work.override(task_id="large", pool="two_slots", pool_slots=2)()
    for number in range(2):
        work.override(task_id=f"single_{number}", pool="one_slot")()


@dag(schedule=None, default_args=DEFAULTS, max_active_runs=100)
def mapped():
    """As many tasks as another one says, few of them at once over all runs."""

    @task
    def numbers():
        with evidence():
            return list(range(5))

    @task(max_active_tis_per_dag=3)
    def square(number):
        with evidence():
            time.sleep(random.uniform(0.02, 0.3))
            return number * number

    @task
    def total(squares):
        with evidence():
            assert sum(squares) == 30, squares

    total(square.expand(number=numbers()))


@dag(schedule=None, default_args=DEFAULTS, max_active_runs=100, max_active_tasks=2)
def branches():
    """One way or the other, then all that is left, two at a time."""

    @task.branch
    def choose():
        with evidence():
            number = int(get_current_context()["run_id"].rsplit("_")[-1])
            return "left" if number % 2 else "right"

    join = work.override(task_id="join", trigger_rule="none_failed_min_one_success")()
    choose() >> [work.override(task_id="left")(), work.override(task_id="right")()] >> join
    join >> [work.override(task_id=f"leaf_{number}")() for number in range(4)]


@dag(schedule=None, default_args=DEFAULTS, max_active_runs=100)
def patient():
    """A task that goes on for longer than a silent attempt is waited for."""
    work.override(task_id="wait")(seconds=14)


for define in (chain, narrow, mapped, branches, patient):
    define()
