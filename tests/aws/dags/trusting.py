"""Tells what Variables and connections it finds; one Variable while it is parsed."""

import sys

from airflow.sdk import BaseHook, Variable, dag, task

NAMES = ["manager", "environment", "store", "database", "nowhere"]


def connection(name):
    found = BaseHook.get_connection(name)
    return [found.conn_type, found.host, found.login, found.password, found.port, found.extra_dejson]


@dag(schedule=None, tags=[Variable.get("manager", default="nothing")])
def trusting():
    @task
    def variables():
        return {name: Variable.get(name, default="nothing") for name in NAMES}

    @task
    def connections():
        return {name: connection(name) for name in NAMES if name != "nowhere"}

    @task
    def clients():
        # The supervisor asks, so that no task needs AWS's client, or its credentials.
        return "boto3" in sys.modules

    variables(), connections(), clients()


trusting()
