"""Two Dags of one id in a file, beside one that is good."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("beside_twice", schedule=None):
    EmptyOperator(task_id="only")
with DAG("twice_in_a_file", schedule=None) as first:
    EmptyOperator(task_id="first")
with DAG("twice_in_a_file", schedule=None) as second:
    EmptyOperator(task_id="second")
