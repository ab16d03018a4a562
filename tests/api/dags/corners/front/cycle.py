"""A Dag that runs in a circle."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("cycle", schedule=None):
    one, two = EmptyOperator(task_id="one"), EmptyOperator(task_id="two")
    one >> two >> one
