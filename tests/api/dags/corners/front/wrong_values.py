"""A Dag whose parameter does not allow its own default, and one whose schedule is none."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param

with DAG("wrong_param", schedule="@daily", params={"count": Param("many", type="integer")}):
    EmptyOperator(task_id="only")
with DAG("wrong_schedule", schedule="every now and then"):
    EmptyOperator(task_id="only")
