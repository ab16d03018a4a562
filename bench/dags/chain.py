"""The Dags of the benchmark: forty light tasks, one after another, and one task to warm up with."""

from __future__ import annotations

import pendulum

from airflow.sdk import DAG, chain, task

LENGTH = 40


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@task
def fib(n: int) -> int:
    return fibonacci(n)


START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG("chain", schedule=None, start_date=START):
    chain(*(fib.override(task_id=f"fib_{number:02}")(10) for number in range(LENGTH)))

with DAG("warm_up", schedule=None, start_date=START):
    fib(10)
