"""An Airflow Dag file whose name is in both bundles."""

raise ImportError("missing in back")
