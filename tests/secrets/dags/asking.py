"""Tells what Variables and connections it finds, which a secrets backend of the API server's has, or fails to give."""

from airflow.sdk import BaseHook, Variable, dag, task

NAMES = ["works", "raises", "hangs", "dies", "environment", "database", "nowhere"]


@dag(schedule=None)
def asking():
    @task
    def variables():
        return {name: Variable.get(name, default="nothing") for name in NAMES}

    @task
    def connections():
        return {name: BaseHook.get_connection(name).login for name in ["works", "raises", "database"]}

    variables() >> connections()


asking()
