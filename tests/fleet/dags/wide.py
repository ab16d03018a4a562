"""A Dag with more tasks at once than one worker runs."""

import time

from airflow.sdk import dag, task


@dag(schedule=None)
def wide():
    @task
    def work(number):
        time.sleep(6)
        return number

    work.expand(number=list(range(6)))


wide()
