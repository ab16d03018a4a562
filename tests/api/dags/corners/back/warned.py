"""Dags that the Dag processor and the scheduler warn of: another one whenever it is parsed, and assets that two Dags
understand differently."""

from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset

with DAG("varies", schedule=None, start_date=datetime(2026, 1, 1), description=f"as of {datetime.now()}"):
    EmptyOperator(task_id="look")

with DAG("milk_here", schedule=None):
    EmptyOperator(task_id="write", outlets=[Asset("milk", uri="s3://dairy/milk")])
with DAG("milk_there", schedule=None):
    EmptyOperator(task_id="write", outlets=[Asset("milk", uri="s3://elsewhere/milk")])
with DAG("milk_by_another_name", schedule=None):
    EmptyOperator(task_id="write", outlets=[Asset("whole milk", uri="s3://dairy/milk")])
