"""A Dag file for Airflow that prints megabytes, then raises."""

for _ in range(4000):
    print("a line of a thousand characters".ljust(1000, "."))
raise RuntimeError("this file has said too much")
