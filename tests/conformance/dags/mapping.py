"""Dynamic task mapping: what is expanded over what, and what follows it."""

from __future__ import annotations

import time
from datetime import timedelta

import pendulum

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

START = pendulum.datetime(2026, 1, 1, tz="UTC")
AT_ONCE = timedelta(seconds=0)


@task
def double(x):
    return x * 2


@task
def total(values):
    return sum(values)


@task
def numbers():
    return [1, 2, 3]


@task
def nothing():
    return []


with DAG("mapped_literal", schedule=None, start_date=START):
    total(double.expand(x=[1, 2, 3]))

    @task
    def pair(a, b):
        return [a, b]

    pair.partial(a="fixed").expand(b=["x"])
    pair.override(task_id="product").expand(a=[1, 2], b={"k": 10, "l": 20})

with DAG("mapped_over_xcom", schedule=None, start_date=START):
    total(double.override(task_id="again").expand(x=double.expand(x=numbers())))

    @task
    def mapping_of():
        return {"one": 1, "two": 2}

    @task
    def named(item):
        return item[0]

    named.expand(item=mapping_of())

with DAG("mapped_zero_length", schedule=None, start_date=START):
    doubled = double.expand(x=nothing())
    doubled >> EmptyOperator(task_id="all_success")
    doubled >> EmptyOperator(task_id="none_failed", trigger_rule="none_failed")
    total(doubled)
    literal = double.override(task_id="literal_zero").expand(x=[])
    literal >> EmptyOperator(task_id="after_literal", trigger_rule="all_done")

with DAG("mapped_expand_kwargs", schedule=None, start_date=START):

    @task
    def arguments():
        return [{"a": 1, "b": 2}, {"a": 3, "b": 4}]

    @task
    def add(a, b):
        return a + b

    add.expand_kwargs(arguments())
    add.override(task_id="literal").expand_kwargs([{"a": 5, "b": 6}])
    BashOperator.partial(task_id="shell").expand_kwargs(
        [{"bash_command": "echo $NAME", "env": {"NAME": "a"}}, {"bash_command": "echo {{ ti.map_index }}"}]
    )

with DAG("mapped_zip_map_concat", schedule=None, start_date=START):

    @task
    def letters():
        return ["a", "b"]

    @task
    def show(item):
        return str(item)

    def only_odd(x):
        if x % 2 == 0:
            raise AirflowSkipException("even")
        return x * 100

    three, two = numbers(), letters()
    show.expand(item=three.zip(two))
    show.override(task_id="show_filled").expand(item=three.zip(two, fillvalue="?"))
    show.override(task_id="show_mapped").expand(item=three.map(only_odd))
    show.override(task_id="show_concat").expand(item=two.concat(three))

with DAG("mapped_index_fails", schedule=None, start_date=START):

    @task(retries=1, retry_delay=AT_ONCE)
    def fails_on_two(x):
        if x == 2:
            raise AirflowException("two")
        return x

    @task(retries=1, retry_delay=AT_ONCE)
    def recovers_on_two(x):
        if x == 2 and get_current_context()["ti"].try_number == 1:
            raise AirflowException("two, once")
        return x

    failing = fails_on_two.expand(x=[1, 2, 3])
    failing >> EmptyOperator(task_id="after_all")
    failing >> EmptyOperator(task_id="after_any", trigger_rule="one_failed")
    failing >> EmptyOperator(task_id="after_done", trigger_rule="all_done")
    total(recovers_on_two.expand(x=[1, 2, 3]))

with DAG("mapped_index_skips", schedule=None, start_date=START):

    @task
    def skips_two(x):
        if x == 2:
            raise AirflowSkipException("two")
        return x

    kept = skips_two.expand(x=[1, 2, 3])
    kept >> EmptyOperator(task_id="all_success")
    kept >> EmptyOperator(task_id="none_failed", trigger_rule="none_failed")
    double.expand(x=kept)

with DAG("mapped_upstream_fails", schedule=None, start_date=START):

    @task
    def broken():
        raise AirflowException("no list")

    @task
    def skipped():
        raise AirflowSkipException("no list either")

    double.expand(x=broken())
    double.override(task_id="after_skipped").expand(x=skipped())

with DAG("mapped_not_a_list", schedule=None, start_date=START):

    @task
    def text():
        return "abc"

    double.expand(x=text())

with DAG("mapped_group", schedule=None, start_date=START):

    @task_group
    def pipeline(n):
        @task
        def grow(n):
            return n + 1

        @task
        def check(n):
            if n == 3:
                raise AirflowException("three")
            return n

        grown = grow(n)
        checked = check(grown)
        checked >> EmptyOperator(task_id="success_only")
        checked >> EmptyOperator(task_id="whatever", trigger_rule="all_done")

    pipeline.expand(n=numbers()) >> EmptyOperator(task_id="after_group", trigger_rule="all_done")

with DAG("mapped_group_reduces", schedule=None, start_date=START):

    @task_group
    def step(n):
        return double(double.override(task_id="first")(n))

    total(step.expand(n=[1, 2]))

with DAG("mapped_group_zero_length", schedule=None, start_date=START):

    @task_group
    def empty_group(n):
        double(n) >> EmptyOperator(task_id="inside")

    empty_group.expand(n=nothing()) >> EmptyOperator(task_id="after", trigger_rule="none_failed")

with DAG("mapped_names", schedule=None, start_date=START):

    @task(map_index_template="{{ label }}")
    def labelled(x):
        get_current_context()["label"] = f"number {x}"
        return x

    labelled.expand(x=[10, 20])
    BashOperator.partial(
        task_id="templated", map_index_template="{{ task.bash_command }}", bash_command="echo $A"
    ).expand(env=[{"A": "1"}, {"A": "2"}])

with DAG("mapped_empty_operator", schedule=None, start_date=START):
    EmptyOperator.partial(task_id="empties").expand(doc_md=["one", "two"])

with DAG("mapped_branch", schedule=None, start_date=START):

    @task.branch
    def by_number(n):
        return "odd" if n % 2 else "even"

    by_number.expand(n=[1, 2]) >> [EmptyOperator(task_id="odd"), EmptyOperator(task_id="even")]

    @task.short_circuit
    def positive(n):
        return n > 0

    positive.expand(n=[0, 1]) >> EmptyOperator(task_id="after_short_circuit")

with DAG("mapped_pulls", schedule=None, start_date=START):

    @task
    def pull_all():
        ti = get_current_context()["ti"]
        return {
            "all": list(ti.xcom_pull(task_ids="source")),
            "one": ti.xcom_pull(task_ids="source", map_indexes=1),
            "two": list(ti.xcom_pull(task_ids="source", map_indexes=[2, 0])),
            "missing": ti.xcom_pull(task_ids="source", map_indexes=9),
        }

    @task
    def slice_of(values):
        return [values[0], list(values[1:]), values[-1], len(values)]

    source = double.override(task_id="source").expand(x=[1, 2, 3])
    source >> pull_all()
    slice_of(source)

with DAG("mapped_limited", schedule=None, start_date=START):

    @task(max_active_tis_per_dagrun=1)
    def one_at_a_time(x):
        time.sleep(0.2)
        return x

    one_at_a_time.expand(x=[1, 2, 3])
