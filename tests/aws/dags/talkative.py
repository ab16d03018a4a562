"""Tasks that write logs: in every way, paused in between, and while somebody waits."""

import logging
import os
import sys
import time

from airflow.sdk import BaseSensorOperator, dag, task


class Paused(BaseSensorOperator):
    """Its attempt is given back once, and goes on."""

    def poke(self, context):
        count = context["ti"].get_first_reschedule_date(context) is not None
        print(f"poked, the second time: {count}")
        return count


@dag(schedule=None)
def talkative():
    @task
    def says():
        logging.getLogger("mine").info("a line with a field", extra={"of": "its own"})
        print("printed ü")
        print("to standard error", file=sys.stderr)

    @task
    def waits():
        print("before the wait", flush=True)
        while not os.path.exists(f"{os.environ['AIRFLOW_HOME']}/release"):
            time.sleep(0.1)
        print("after the wait")

    says() >> waits() >> Paused(task_id="paused", mode="reschedule", poke_interval=1)


talkative()
