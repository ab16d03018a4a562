"""What one Dag run asks of another, of its conf, of the clock, of sensors and of assets."""

from __future__ import annotations

import time
from datetime import timedelta

import pendulum

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, Asset, AssetAlias, Metadata, Param, Variable, get_current_context, task
from airflow.sdk.exceptions import AirflowException

START = pendulum.datetime(2026, 1, 1, tz="UTC")


def context():
    return get_current_context()


with DAG("depends_on_past", schedule=None, start_date=START):

    @task(depends_on_past=True)
    def strict():
        if context()["params"].get("fail") or context()["dag_run"].conf.get("fail"):
            raise AirflowException("as asked")
        return context()["run_id"]

    @task
    def lenient():
        return "ran"

    strict()
    lenient()

with DAG("depends_on_past_success", schedule=None, start_date=START):

    @task(depends_on_past=True, wait_for_downstream=True)
    def chained():
        return context()["run_id"]

    chained() >> EmptyOperator(task_id="downstream")

with DAG("dagrun_timeout", schedule=None, start_date=START, dagrun_timeout=timedelta(seconds=4)):

    @task
    def long_work():
        time.sleep(60)

    long_work() >> EmptyOperator(task_id="after")

with DAG(
    "conf_and_params",
    schedule=None,
    start_date=START,
    params={"name": "default", "count": Param(3, type="integer", minimum=1), "optional": Param(None, type=["null", "string"])},
    render_template_as_native_obj=True,
):

    @task
    def read():
        return {
            "params": dict(context()["params"]),
            "conf": context()["dag_run"].conf,
            "ds": context().get("ds"),
            "run_type": context()["dag_run"].run_type,
        }

    read()
    BashOperator(task_id="templated", bash_command="echo '{{ params.name }} {{ params.count }} {{ run_id }}'")

with DAG("without_logical_date", schedule=None, start_date=START):

    @task
    def dates():
        return sorted(key for key in ("ds", "logical_date", "data_interval_start", "ts") if key in context())

    dates()

with DAG("empty_operators_only", schedule=None, start_date=START):
    first = EmptyOperator(task_id="first")
    first >> EmptyOperator(task_id="second") >> EmptyOperator(task_id="third", trigger_rule="one_success")
    EmptyOperator(task_id="with_outlet", outlets=[Asset("conformance://empty")])
    EmptyOperator(task_id="with_callback", on_success_callback=print)
    EmptyOperator(task_id="with_execute_callback", on_execute_callback=print)

with DAG("no_tasks", schedule=None, start_date=START):
    pass


def third_poke(name: str) -> bool:
    """True on the third call; counts in a Variable, for a rescheduled sensor keeps nothing else."""
    key = f"{name}_{context()['run_id']}"
    pokes = int(Variable.get(key, default=0)) + 1
    Variable.set(key, str(pokes))
    return pokes >= 3


with DAG("sensors", schedule=None, start_date=START):
    PythonSensor(
        task_id="reschedule", python_callable=lambda: third_poke("reschedule"), poke_interval=5, mode="reschedule"
    ) >> EmptyOperator(task_id="after_reschedule")
    PythonSensor(task_id="poke", python_callable=lambda: third_poke("poke"), poke_interval=0.2)
    PythonSensor(task_id="times_out", python_callable=lambda: False, poke_interval=0.2, timeout=1, retries=2)
    PythonSensor(task_id="fails_softly", python_callable=lambda: False, poke_interval=0.2, timeout=1, soft_fail=True)

    @task.sensor(poke_interval=0.2)
    def with_value():
        from airflow.sdk import PokeReturnValue

        return PokeReturnValue(is_done=third_poke("value"), xcom_value="seen")

    with_value()

with DAG("deferred", schedule=None, start_date=START):
    TimeDeltaSensor(task_id="waits", delta=timedelta(seconds=1), deferrable=True) >> EmptyOperator(task_id="after")

outlet, aliased, alias = Asset("conformance://outlet"), "conformance://aliased", AssetAlias("conformance_alias")

with DAG("asset_producer", schedule=None, start_date=START):

    @task(outlets=[outlet])
    def produce():
        yield Metadata(outlet, {"rows": 3})

    @task(outlets=[alias])
    def produce_alias(*, outlet_events):
        outlet_events[alias].add(Asset(aliased), extra={"k": "v"})

    @task(outlets=[outlet])
    def fails_to_produce():
        raise AirflowException("no event")

    @task(outlets=[outlet])
    def produce_mapped(x):
        return x

    produce()
    produce_alias()
    fails_to_produce()
    produce_mapped.expand(x=[1, 2])

with DAG("asset_consumer", schedule=[Asset("conformance://chain")], start_date=START):

    @task
    def consume(*, triggering_asset_events):
        return sorted(event.extra.get("n", 0) for events in triggering_asset_events.values() for event in events)

    consume()

with DAG("asset_chain_producer", schedule=None, start_date=START):

    @task(outlets=[Asset("conformance://chain")])
    def produce_for_chain(*, outlet_events):
        outlet_events[Asset("conformance://chain")].extra = {"n": 7}

    produce_for_chain()

with DAG("triggers_another", schedule=None, start_date=START):
    TriggerDagRunOperator(
        task_id="trigger", trigger_dag_id="triggered", trigger_run_id="by_operator", conf={"from": "{{ dag.dag_id }}"},
        wait_for_completion=True, poke_interval=1, logical_date="2026-01-05T00:00:00+00:00",
    )  # fmt: skip

with DAG("triggered", schedule=None, start_date=START, is_paused_upon_creation=False):

    @task
    def answer():
        return context()["dag_run"].conf

    answer()

with DAG("xcom_values", schedule=None, start_date=START):

    @task(multiple_outputs=True)
    def many():
        return {"text": "ü\"'\\", "number": 1.5, "nothing": None, "nested": {"list": [1, [2, {"k": True}]]}}

    @task
    def special():
        return {"date": START, "delta": timedelta(hours=1), "tuple": (1, 2), "set": {3}, "big": 2**60}

    @task
    def no_push_of_none():
        return None

    @task(do_xcom_push=False)
    def not_pushed():
        return "lost"

    @task
    def custom_keys():
        context()["ti"].xcom_push("k1", [1])
        context()["ti"].xcom_push("k1", [2])
        return "returned"

    @task
    def pulls():
        ti = context()["ti"]
        return {
            "key": ti.xcom_pull(task_ids="custom_keys", key="k1"),
            "several": ti.xcom_pull(task_ids=["custom_keys", "many"]),
            "default": ti.xcom_pull(task_ids="absent", default="fallback"),
        }

    special()
    no_push_of_none()
    not_pushed()
    [custom_keys(), many()] >> pulls()
