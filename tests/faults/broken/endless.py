"""A Dag file for Airflow that never ends."""

while True:
    pass
