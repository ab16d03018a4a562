"""A Dag that gains a task after its first run."""

import datetime

from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("versioned", schedule=None, start_date=datetime.datetime(2026, 1, 1)):
    first = EmptyOperator(task_id="first")
    # first >> EmptyOperator(task_id="second")
