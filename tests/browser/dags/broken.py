"""An Airflow Dag that cannot be imported."""

raise ImportError("the flour is missing")
