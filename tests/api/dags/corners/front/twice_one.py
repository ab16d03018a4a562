"""A Dag whose id another file gives to another one."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("in_two_files", schedule=None, tags=["one"]):
    EmptyOperator(task_id="one")
