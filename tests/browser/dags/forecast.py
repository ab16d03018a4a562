"""An Airflow Dag that is another one whenever it is parsed, of which the Dag processor warns."""

from datetime import datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("forecast", schedule=None, start_date=datetime(2026, 1, 1), description=f"as of {datetime.now()}"):
    EmptyOperator(task_id="look")
