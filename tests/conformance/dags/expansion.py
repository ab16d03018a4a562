"""Mapping: over what a task or group is expanded, how far, and what becomes of it when the source is not as hoped."""

from __future__ import annotations

from datetime import timedelta

import pendulum

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk import DAG, TaskGroup, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

START = pendulum.datetime(2026, 1, 1, tz="UTC")
AT_ONCE = timedelta(0)


@task
def give(value):
    return value


@task
def show(value):
    return str(value)


@task
def gather(values):
    return sorted(str(value) for value in values)


def raise_skip(value=None):
    raise AirflowSkipException("skipped on purpose")


def raise_failure(value=None):
    raise AirflowException("failed on purpose")


def skip_even(value):
    if value % 2 == 0:
        raise AirflowSkipException("even")
    return value * 10


def source(value, task_id: str = "source"):
    return give.override(task_id=task_id)(value)


# What the source gives: its value, and whether a task can be expanded over it.
VALUES = {
    "list": [1, "two", None],
    "dict": {"a": 1, "b": [2]},
    "nested_list": [[1, 2], [3]],
    "list_of_dicts": [{"a": 1}, {"a": 2}],
    "empty_list": [],
    "empty_dict": {},
    "none": None,
    "number": 7,
    "text": "abc",
    "boolean": False,
}
for name, value in VALUES.items():
    with DAG(f"expand_over_{name}", schedule=None, start_date=START):
        mapped = show.expand(value=source(value))
        mapped >> EmptyOperator(task_id="after")
        mapped >> EmptyOperator(task_id="after_any_way", trigger_rule="all_done")

# One element more than `[core] max_map_length` allows: the task that gives them fails.
with DAG("expand_over_too_many", schedule=None, start_date=START):

    @task
    def many(count):
        return list(range(count))

    EmptyOperator.partial(task_id="never").expand(doc_md=many(1025))
    # Nobody is mapped over these: they are a value like any other.
    many.override(task_id="not_mapped_over")(1025)

with DAG("expand_over_kwargs", schedule=None, start_date=START):

    @task
    def add(a, b=10):
        return a + b

    add.override(task_id="from_task").expand_kwargs(source([{"a": 1}, {"a": 2, "b": 3}]))
    add.override(task_id="from_list_of_tasks").expand_kwargs(
        [source({"a": 1, "b": 1}, "first"), source({"a": 2}, "second")]
    )
    add.override(task_id="from_mapped").expand_kwargs(
        give.override(task_id="mapped_source").expand(value=[{"a": 5}, {"a": 6}])
    )
    add.override(task_id="with_function").expand_kwargs(source([1, 2], "numbers").map(lambda n: {"a": n, "b": n}))
    add.override(task_id="with_skips").expand_kwargs(
        source([1, 2, 3], "more_numbers").map(lambda n: {"a": skip_even(n)})
    )
    add.override(task_id="of_zero_length").expand_kwargs(source([], "nothing"))
    add.override(task_id="not_of_dicts").expand_kwargs(source([1, 2], "no_dicts"))
    add.override(task_id="unknown_argument").expand_kwargs(source([{"c": 1}], "unknown"))

with DAG("expand_over_products", schedule=None, start_date=START):

    @task
    def pair(a, b):
        return f"{a}{b}"

    letters, numbers = source(["x", "y"], "letters"), source([1, 2, 3], "numbers")
    gather(pair.override(task_id="two_tasks").expand(a=letters, b=numbers))
    pair.override(task_id="task_and_list").expand(a=letters, b=[8, 9])
    pair.override(task_id="task_and_dict").expand(a=letters, b={"k": 1})
    pair.override(task_id="same_twice").expand(a=letters, b=letters)
    pair.override(task_id="with_mapped").expand(a=show.expand(value=[1, 2]), b=letters)
    pair.override(task_id="with_nothing").expand(a=letters, b=source([], "nothing"))

with DAG("expand_over_functions", schedule=None, start_date=START):
    numbers, more = source([1, 2, 3], "numbers"), source([4, 5], "more")
    for name, values in {
        "mapped": numbers.map(lambda n: n + 1),
        "mapped_twice": numbers.map(lambda n: n + 1).map(lambda n: f"{n}!"),
        "mapped_with_skips": numbers.map(skip_even),
        "mapped_with_failure": numbers.map(lambda n: 6 // (n - 2)),
        "zipped": numbers.zip(more),
        "zipped_filled": more.zip(numbers, fillvalue=0),
        "zipped_three": numbers.zip(more, numbers),
        "zipped_mapped": numbers.map(lambda n: -n).zip(more),
        "zip_mapped": numbers.zip(more).map(lambda pair: sum(pair)),
        "concatenated": more.concat(numbers),
        "concatenated_three": more.concat(numbers, more),
        "concat_mapped": numbers.map(lambda n: -n).concat(more),
        "concat_with_nothing": more.concat(source([], "nothing")),
        "zip_with_nothing": more.zip(source([], "nothing_either")),
    }.items():
        show.override(task_id=name).expand(value=values)

with DAG("expand_over_mapped", schedule=None, start_date=START):
    first = give.override(task_id="first").expand(value=[1, 2, 3])
    second = give.override(task_id="second").expand(value=first)
    third = give.override(task_id="third").expand(value=second.map(lambda n: n * 10))
    gather(third)
    lists = give.override(task_id="lists").expand(value=[[1, 2], [3]])
    gather.override(task_id="gather_each").expand(values=lists)

# Some indexes of the source have no value: they are left out, and those after them move up.
with DAG("expand_over_partly_skipped", schedule=None, start_date=START):
    partly = task(skip_even, task_id="partly").expand(value=[1, 2, 3])
    show.expand(value=partly)
    gather.override(trigger_rule="none_failed")(partly)
    show.override(task_id="whatever", trigger_rule="all_done").expand(value=partly)

with DAG("expand_over_values_of_none", schedule=None, start_date=START):
    partly = give.override(task_id="partly").expand(value=[None, 1])
    show.expand(value=partly)
    gather(partly)

# The source ends in another way, under each rule of the mapped task.
RULES = ("all_success", "all_done", "none_failed", "one_failed", "all_skipped")
for outcome, function in {"skipped": raise_skip, "failed": raise_failure}.items():
    with DAG(f"expand_over_{outcome}", schedule=None, start_date=START):
        missing = task(function, task_id="source")()
        for rule in RULES:
            # Skipped by its rule, failed by its source: Airflow itself decides by chance.
            if (outcome, rule) == ("failed", "all_skipped"):
                continue
            show.override(task_id=f"task_{rule}", trigger_rule=rule).expand(value=missing) >> EmptyOperator(
                task_id=f"after_{rule}", trigger_rule="all_done"
            )

        @task_group
        def section(value):
            give.override(task_id="first")(value) >> EmptyOperator(task_id="second", trigger_rule="all_done")

        section.expand(value=missing) >> EmptyOperator(task_id="after_group")

with DAG("expand_over_upstream_failed", schedule=None, start_date=START):
    broken = task(raise_failure, task_id="broken")()
    given = give.override(task_id="source")([1])
    broken >> given
    show.expand(value=given) >> EmptyOperator(task_id="after")

# A mapped task waits for what it is not mapped over, too.
with DAG("expand_with_other_upstream", schedule=None, start_date=START):
    failed = task(raise_failure, task_id="failed")()
    skipped = task(raise_skip, task_id="skipped")()
    for name, upstream, rule in (
        ("after_failed", failed, "all_success"),
        ("after_failed_done", failed, "all_done"),
        ("after_skipped", skipped, "all_success"),
        ("after_skipped_none_failed", skipped, "none_failed"),
    ):
        upstream >> show.override(task_id=name, trigger_rule=rule).expand(value=[1, 2])

    @task
    def two(a, b):
        return [a, b]

    two.override(task_id="partial_of_task").partial(a=source(5)).expand(b=[1, 2])
    two.override(task_id="partial_of_failed").partial(a=failed).expand(b=[1, 2])
    two.override(task_id="partial_of_mapped").partial(a=show.expand(value=[1])).expand(b=[1, 2])

with DAG("expand_classic_operators", schedule=None, start_date=START):
    BashOperator.partial(task_id="bash", env={"A": "a"}, append_env=True).expand(
        bash_command=["echo $A 1", "echo {{ ti.map_index }} {{ ds }}", "exit 99"]
    )
    PythonOperator.partial(task_id="python", python_callable=lambda *args: list(args)).expand(op_args=[[1], [2, 3]])
    PythonOperator.partial(task_id="python_kwargs", python_callable=lambda **kwargs: kwargs["n"]).expand(
        op_kwargs=[{"n": 1}, {"n": 2}]
    )
    PythonSensor.partial(task_id="sensor", python_callable=lambda n: n, mode="reschedule", poke_interval=1).expand(
        op_args=[[True], [1]]
    )
    BashOperator.partial(task_id="priorities", bash_command="echo 1", priority_weight=3, queue="default").expand(
        env=[{"A": "1"}, {"A": "2"}]
    )

with DAG("expand_with_names", schedule=None, start_date=START):

    def by(template: str, task_id: str):
        @task(task_id=task_id, map_index_template=template)
        def named(value):
            if value == "skips":
                raise_skip()
            if value == "fails":
                raise_failure()
            get_current_context()["found"] = f"found {value}"

        named.expand(value=["one", "skips", "fails"])

    by("{{ found }}", "from_context")
    by("{{ ti.map_index }} of {{ task.task_id }}", "from_index")
    by("{{ task.op_kwargs['value'] }}", "from_argument")
    by("{{ not_defined.attribute }}", "broken")
    by("always the same", "constant")

with DAG("expand_with_retries", schedule=None, start_date=START):

    @task(retries=2, retry_delay=AT_ONCE)
    def needs(attempts):
        if get_current_context()["ti"].try_number < attempts:
            raise AirflowException("not yet")
        return attempts

    gather(needs.expand(attempts=[1, 3, 2]))
    needs.override(task_id="not_enough", retries=1).expand(attempts=[1, 3]) >> EmptyOperator(
        task_id="after", trigger_rule="all_done_min_one_success"
    )

with DAG("expand_and_pull", schedule=None, start_date=START):

    @task
    def parts(values):
        return [values[0], values[-1], len(values), list(values)[1:], [*reversed(list(values))]]

    given = give.override(task_id="given").expand(value=["a", "b", "c"])
    parts(given)

    @task(multiple_outputs=True)
    def keys(n):
        return {"n": n, "double": 2 * n}

    several = keys.expand(n=[1, 2])
    gather(several["double"])


# -- groups ----------------------------------------------------------------------------------------------------------


@task_group
def twice(value):
    return give.override(task_id="second")(give.override(task_id="first")(value))


with DAG("expand_groups", schedule=None, start_date=START):
    gather(twice.override(group_id="over_list").expand(value=[1, 2]))
    gather.override(task_id="gather_task")(twice.override(group_id="over_task").expand(value=source([3, 4])))
    twice.override(group_id="over_dict").expand(value={"a": 1})
    nothing = source([], "nothing")
    twice.override(group_id="over_nothing").expand(value=nothing) >> EmptyOperator(task_id="after_nothing")
    # A group mapped over the result of another, index by index.
    twice.override(group_id="over_group").expand(value=twice.override(group_id="inner").expand(value=[5, 6]))

with DAG("expand_groups_over_kwargs", schedule=None, start_date=START):

    @task_group
    def sums(a, b):
        @task
        def add(a, b):
            return a + b

        return add(a, b)

    gather(sums.expand_kwargs(source([{"a": 1, "b": 2}, {"a": 3, "b": 4}])))
    sums.override(group_id="literal").expand_kwargs([{"a": 1, "b": 2}])
    sums.override(group_id="product").expand(a=[1, 2], b=source([10, 20], "tens"))
    sums.override(group_id="partial").partial(a=7).expand(b=[1, 2])

with DAG("expand_groups_in_groups", schedule=None, start_date=START):

    @task_group
    def outer(value):
        first = give.override(task_id="first")(value)
        with TaskGroup("inner"):
            second = give.override(task_id="second")(first)
            with TaskGroup("innermost"):
                EmptyOperator(task_id="empty") >> give.override(task_id="third")(second)

        @task_group
        def sibling(value):
            return give.override(task_id="fourth")(value)

        return sibling(second)

    gather(outer.expand(value=[1, 2]))
    with TaskGroup("around"):
        outer.override(group_id="within").expand(value=source([3])) >> EmptyOperator(task_id="after_within")

# Within a group an index goes its own way; after it all of them count.
with DAG("expand_groups_with_ends", schedule=None, start_date=START):

    @task_group
    def section(outcome):
        @task(max_active_tis_per_dagrun=1)
        def ends(outcome):
            if outcome == "fails":
                raise_failure()
            if outcome == "is_skipped":
                raise_skip()
            return outcome

        ended = ends(outcome)
        show(ended) >> EmptyOperator(task_id="last")
        ended >> EmptyOperator(task_id="any_way", trigger_rule="all_done")

    sections = section.expand(outcome=["succeeds", "is_skipped", "fails"])
    sections >> EmptyOperator(task_id="after")
    sections >> EmptyOperator(task_id="after_any_way", trigger_rule="all_done")

with DAG("expand_groups_with_retries", schedule=None, start_date=START):

    @task_group
    def section(attempts):
        @task(retries=1, retry_delay=AT_ONCE)
        def needs(attempts):
            if get_current_context()["ti"].try_number < attempts:
                raise AirflowException("not yet")

        needs(attempts) >> EmptyOperator(task_id="after")

    section.expand(attempts=[1, 2, 3])

with DAG("expand_groups_and_others", schedule=None, start_date=START):
    # Tasks in a mapped group depend on single tasks, and on another mapped group as a whole.
    single = source("single", "single")

    @task_group
    def section(value):
        inside = give.override(task_id="inside")(value)
        [inside, single] >> EmptyOperator(task_id="waits_for_single")

    first = section.override(group_id="first").expand(value=[1, 2])
    first >> section.override(group_id="second").expand(value=[1, 2, 3])
