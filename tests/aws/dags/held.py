"""Two tasks that say which version of a module of their bundle they see; the first waits until it may end."""

import os
import time

import release  # Beside this file, as every module of a bundle.
from airflow.sdk import BaseOperator, dag, task


class Report(BaseOperator):
    """An operator of the Dag file itself, whose module Airflow names by the path of the file."""

    def execute(self, context):
        number = context["ti"].xcom_pull(task_ids="first")
        return [number, release.NUMBER, os.path.relpath(__file__, os.environ["AIRFLOW_HOME"])]


@dag(schedule=None)
def held():
    @task
    def first():
        while not os.path.exists(f"{os.environ['AIRFLOW_HOME']}/release"):
            time.sleep(0.1)
        return release.NUMBER

    first() >> Report(task_id="second")


held()
