"""Two Dags whose file is broken after they have run."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

for dag_id in ("breaks", "breaks_too"):
    with DAG(dag_id, schedule=None, tags=["broken"], default_args={"owner": "baker"}):
        EmptyOperator(task_id="only")
# raise RuntimeError("broken since")
