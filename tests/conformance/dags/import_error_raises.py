"""A file that raises after its first Dag."""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("before_the_exception", schedule=None):
    EmptyOperator(task_id="only")

raise RuntimeError("this file cannot be imported")
