"""How attempts end, over the retries that are left, retry policies and the `fail_fast` of Dags."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import pendulum

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk import (
    DAG,
    ExceptionRetryPolicy,
    RetryAction,
    RetryDecision,
    RetryPolicy,
    RetryRule,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)

START = pendulum.datetime(2026, 1, 1, tz="UTC")
AT_ONCE = timedelta(0)


class OfOurOwn(KeyError):
    """An exception that only this file knows."""


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(3)
    return "outlived it"


def leave(code):
    return lambda: os._exit(code)


def leave_politely(code):
    return lambda: sys.exit(code)


def raising(error: BaseException):
    def fail():
        raise error

    return fail


def sleep():
    time.sleep(60)


ENDS = {
    "exception": raising(AirflowException("failed on purpose")),
    "own_exception": raising(OfOurOwn("failed on purpose")),
    "fail_exception": raising(AirflowFailException("no use to try again")),
    "skip_exception": raising(AirflowSkipException("nothing to do")),
    "sensor_timeout": raising(AirflowSensorTimeout("too long")),
    "task_timeout": raising(AirflowTaskTimeout("too long")),
    "keyboard_interrupt": raising(KeyboardInterrupt()),
    "base_exception": raising(BaseException("not even an Exception")),
    "polite_exit_0": leave_politely(0),
    "polite_exit_1": leave_politely(1),
    "exit_3": leave(3),
    "killed": kill,
    "terminated": terminate,
    "times_out": sleep,
}

def before_success(end):
    def at_first():
        if get_current_context()["ti"].try_number == 1:
            end()
        return "recovered"

    return at_first


# Every end, without and with a retry, and before a success.
for name, end in ENDS.items():
    with DAG(f"ends_by_{name}", schedule=None, start_date=START):
        arguments = {"retry_delay": AT_ONCE}
        if name == "times_out":
            arguments["execution_timeout"] = timedelta(seconds=1)
        task(end, task_id="without_retry", **arguments)() >> EmptyOperator(task_id="after")
        task(end, task_id="with_retry", retries=1, **arguments)()
        recovers = task(before_success(end), task_id="at_first", retries=1, **arguments)()
        recovers >> EmptyOperator(task_id="after_recovery")


class Asks(RetryPolicy):
    """Decides by the attempt."""

    def __init__(self, *decisions):
        self.decisions = decisions

    def evaluate(self, exception, try_number, max_tries, context=None):
        decision = self.decisions[min(try_number, len(self.decisions)) - 1]
        if isinstance(decision, Exception):
            raise decision
        return decision

    def serialize(self):
        return {"decisions": len(self.decisions)}


SOON = timedelta(seconds=0)
POLICIES = {
    "fails": Asks(RetryDecision.fail("no use")),
    "retries_soon": Asks(RetryDecision.retry(SOON, "soon")),
    "retries_with_usual_delay": Asks(RetryDecision.retry()),
    "leaves_it": Asks(RetryDecision.default()),
    "fails_at_second": Asks(RetryDecision.retry(SOON), RetryDecision.fail()),
    "is_broken": Asks(ValueError("the policy itself fails")),
    "rule_fails": ExceptionRetryPolicy([RetryRule(OfOurOwn, RetryAction.FAIL, reason="ours")]),
    "rule_of_parent": ExceptionRetryPolicy([RetryRule(LookupError, RetryAction.FAIL)]),
    "rule_of_parent_exactly": ExceptionRetryPolicy([RetryRule(LookupError, RetryAction.FAIL, match_subclasses=False)]),
    "rule_by_name": ExceptionRetryPolicy([RetryRule("builtins.KeyError", RetryAction.FAIL)]),
    "rule_of_several": ExceptionRetryPolicy([RetryRule([OSError, "builtins.KeyError"], RetryAction.FAIL)]),
    "first_rule_wins": ExceptionRetryPolicy(
        [RetryRule(KeyError, RetryAction.RETRY, SOON), RetryRule(Exception, RetryAction.FAIL)]
    ),
    "no_rule_matches": ExceptionRetryPolicy([RetryRule(OSError, RetryAction.RETRY)], default=RetryAction.FAIL),
}

with DAG("retry_policies", schedule=None, start_date=START):
    for name, policy in POLICIES.items():

        @task(task_id=name, retries=1, retry_delay=AT_ONCE, retry_policy=policy)
        def with_policy():
            raise OfOurOwn("for the policy")

        with_policy()

    @task(retries=0, retry_policy=Asks(RetryDecision.retry(SOON)))
    def has_no_retries():
        raise OfOurOwn("for the policy")

    @task(retries=1, retry_delay=timedelta(hours=1), retry_policy=Asks(RetryDecision.retry(SOON)))
    def shortens_the_delay():
        if get_current_context()["ti"].try_number == 1:
            raise OfOurOwn("for the policy")

    @task(retries=1, retry_delay=AT_ONCE, retry_policy=Asks(RetryDecision.retry(SOON)))
    def does_not_ask_for_fail_exception():
        raise AirflowFailException("never asked")

    has_no_retries()
    shortens_the_delay()
    does_not_ask_for_fail_exception()

# What the wait between attempts is at least.
with DAG("retry_delays", schedule=None, start_date=START):

    def waits(task_id: str, delays: list[float], **arguments):
        """Fails until each delay was waited for; answers whether each wait was as long as it should be."""

        @task(task_id=task_id, retries=len(delays), **arguments)
        def attempt():
            folder = Path(os.environ["AIRFLOW_HOME"]) / "retry_delays"
            folder.mkdir(exist_ok=True)
            notes = folder / task_id
            with notes.open("a") as file:
                file.write(f"{time.time()}\n")
            times = [float(line) for line in notes.read_text().splitlines()]
            if len(times) <= len(delays):
                raise AirflowException("again")
            return [after - before >= delay for before, after, delay in zip(times, times[1:], delays)]

        return attempt()

    one, two = timedelta(seconds=1), timedelta(seconds=2)
    waits("constant", [2, 2], retry_delay=two)
    waits("exponential", [1, 1, 2], retry_delay=one, retry_exponential_backoff=2.0)
    waits("at_most", [1, 1, 1], retry_delay=one, retry_exponential_backoff=3.0, max_retry_delay=two)

with DAG("sensors_and_failures", schedule=None, start_date=START):

    def fails_once():
        if get_current_context()["ti"].try_number == 1:
            raise ValueError("at first")
        return True

    def never():
        return False

    def skips():
        raise AirflowSkipException("not today")

    def breaks():
        raise ValueError("for ever")

    quick = {"poke_interval": 0.2, "retry_delay": AT_ONCE}
    for mode in ("poke", "reschedule"):
        for name, callable, arguments in (
            ("recovers", fails_once, {"retries": 1}),
            ("skips", skips, {"retries": 1}),
            ("breaks_softly", breaks, {"soft_fail": True, "retries": 1}),
            ("never_fails", breaks, {"never_fail": True, "retries": 1}),
            ("silent_fail", breaks, {"silent_fail": True, "timeout": 1}),
            ("times_out", never, {"timeout": 1, "retries": 1}),
            ("times_out_softly", never, {"timeout": 1, "soft_fail": True}),
        ):
            # The clock starts with the first poke, which the load may delay: how it ends would be chance.
            if name.startswith("times_out") and mode == "reschedule":
                continue
            PythonSensor(task_id=f"{name}_{mode}", python_callable=callable, mode=mode, **quick, **arguments)

with DAG("bash_ends", schedule=None, start_date=START):
    for code in (0, 1, 99, 100):
        BashOperator(task_id=f"exit_{code}", bash_command=f"exit {code}") >> EmptyOperator(task_id=f"after_{code}")
    BashOperator(task_id="skips_on_100", bash_command="exit 100", skip_on_exit_code=[100, 101])
    BashOperator(task_id="never_skips", bash_command="exit 99", skip_on_exit_code=None)
    BashOperator(task_id="killed", bash_command="kill -9 $$")
    BashOperator(task_id="last_line", bash_command="echo one; echo two")
    BashOperator(task_id="no_such_command", bash_command="there_is_no_such_command")

# `fail_fast`: what is waiting, retrying or mapped when a task fails for good.
with DAG("fail_fast_waits_for_retries", schedule=None, start_date=START, fail_fast=True):

    @task(retries=1, retry_delay=timedelta(seconds=3))
    def fails_for_good():
        raise AirflowException("on purpose")

    fails_for_good() >> EmptyOperator(task_id="below")
    # Waits for its next attempt when the other fails, and never has it. It starts first, however busy the machine is.

    @task(retries=1, retry_delay=timedelta(hours=1), priority_weight=100)
    def would_try_again():
        raise AirflowException("on purpose")

    would_try_again()

with DAG("fail_fast_mapped", schedule=None, start_date=START, fail_fast=True):

    @task(max_active_tis_per_dagrun=1)
    def fails_at_one(n):
        if n == 1:
            raise AirflowException("one")

    mapped = fails_at_one.expand(n=[0, 1, 2])
    mapped >> EmptyOperator(task_id="below")

with DAG("fail_fast_skips", schedule=None, start_date=START, fail_fast=True):

    @task
    def skipped():
        raise AirflowSkipException("is no failure")

    skipped() >> EmptyOperator(task_id="below")
    EmptyOperator(task_id="beside")

# Not fast enough: the run is failed, what runs is ended and what waits is skipped.
for name, first, arguments in (
    ("waiting", sleep, {}),
    ("retrying", ENDS["exception"], {"retries": 1, "retry_delay": timedelta(hours=1)}),
):
    with DAG(f"dagrun_timeout_{name}", schedule=None, start_date=START, dagrun_timeout=timedelta(seconds=8)):
        task(first, task_id="first", **arguments)() >> EmptyOperator(task_id="waits")
        EmptyOperator(task_id="ended_in_time")
