"""Dags that use every setting and every shape of mapping that a serialized Dag can hold."""

from __future__ import annotations
import datetime
from airflow.sdk import DAG, task, task_group, setup, teardown, Param, XComArg
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync

with DAG("mapping_shapes", start_date=datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc), schedule=None) as mapping:
    @task
    def numbers(): return [1, 2]
    @task
    def letters(): return ["a"]
    @task
    def one(x): return x
    @task
    def two(x, y): return x
    n, l = numbers(), letters()
    first = one.expand(x=n)
    product = two.override(task_id="product").expand(x=n, y={"k": 1, "l": 2})
    zipped = one.override(task_id="zipped").expand(x=n.zip(l))
    filled = one.override(task_id="filled").expand(x=n.zip(l, fillvalue="é"))
    joined = one.override(task_id="joined").expand(x=n.concat(l).map(lambda v: v))
    literals = BashOperator.partial(task_id="literals", pool="small", retries=2, retry_delay=datetime.timedelta(seconds=7.5), pool_slots=3,
        trigger_rule="none_failed", queue="fast", priority_weight=5, weight_rule="upstream", map_index_template="{{ x }}", max_active_tis_per_dag=2, owner="me", on_failure_callback=print).expand_kwargs([{"bash_command": "true"}, {"bash_command": "false"}])
    kwargs = BashOperator.partial(task_id="kwargs").expand_kwargs(n.map(lambda v: {"bash_command": str(v)}))
    @task_group
    def tg(v):
        a = one.override(task_id="a")(v)
        b = one.override(task_id="b")(a)
        @task_group(prefix_group_id=False)
        def deeper():
            one.override(task_id="c")(b)
            EmptyOperator(task_id="d", trigger_rule="one_success")
        deeper()
    tg.expand(v=first)

with DAG("every_setting", start_date=datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc), end_date=datetime.datetime(2030, 1, 1, 0, 0, 0, 250000, tzinfo=datetime.timezone.utc),
         schedule="*/5 * * * *", catchup=True, max_active_tasks=3, max_active_runs=2, max_consecutive_failed_dag_runs=4, dagrun_timeout=datetime.timedelta(hours=1, milliseconds=1),
         fail_fast=False, on_success_callback=print, on_failure_callback=print, tags={"b", "a", "ü"}, owner_links={"me": "https://example.com"}, description="Zeilen \"und\" \u2028 \U0001F600 \x7f",
         params={"n": Param(1.5e-7, type="number", description="tiny"), "big": 12345678901234567890, "huge": 1e22, "list": [1, "x", None], "when": Param("2024-01-01T00:00:00+00:00", type="string", format="date-time"), "obj": {"a": {"b": [1.0, -0.0, 1e16, 123456789.123]}}},
         is_paused_upon_creation=False, render_template_as_native_obj=True, default_args={"owner": "me", "retries": 3, "depends_on_past": True}, doc_md="# Doc\n", dag_display_name="Every setting") as every:
    a = EmptyOperator(task_id="a")
    b = BashOperator(task_id="b", bash_command="true", retry_exponential_backoff=True, max_retry_delay=datetime.timedelta(minutes=10), execution_timeout=datetime.timedelta(minutes=1), wait_for_downstream=True,
        ignore_first_depends_on_past=False, executor_config={"x": {"y": 1}}, pool="p", pool_slots=2, queue="q", priority_weight=7, weight_rule="absolute", max_active_tis_per_dag=1, max_active_tis_per_dagrun=1, email="a@example.com",
        start_date=datetime.datetime(2024, 2, 1, tzinfo=datetime.timezone.utc), run_as_user="nobody", trigger_rule="all_done", retries=1, task_display_name="Bee", on_execute_callback=print, on_skipped_callback=print, on_retry_callback=print)
    c = EmptyOperator(task_id="c", on_success_callback=print)
    s = TimeDeltaSensor(task_id="s", delta=datetime.timedelta(seconds=1), mode="reschedule")
    d = DateTimeSensorAsync(task_id="d", target_time="2024-01-01T00:00:00+00:00", start_from_trigger=True)
    k = ShortCircuitOperator(task_id="k", python_callable=lambda: True)
    a >> b >> c >> s >> d >> k

with DAG("setups", schedule=None) as setups:
    s1 = EmptyOperator(task_id="s1").as_setup()
    s2 = EmptyOperator(task_id="s2").as_setup()
    w1 = EmptyOperator(task_id="w1"); w2 = EmptyOperator(task_id="w2"); w3 = EmptyOperator(task_id="w3")
    t1 = EmptyOperator(task_id="t1").as_teardown(setups=s1, on_failure_fail_dagrun=True)
    t2 = EmptyOperator(task_id="t2").as_teardown(setups=s2)
    s1 >> s2 >> w1 >> w2 >> t2 >> t1
    w2 >> w3
