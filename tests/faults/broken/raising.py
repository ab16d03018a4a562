"""A Dag file for Airflow that raises."""

raise RuntimeError("this file raises")
