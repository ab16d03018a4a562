"""An Airflow Dag file that is not Python."""

from airflow.sdk import DAG

with DAG("syntax_error", schedule=None:
    pass
