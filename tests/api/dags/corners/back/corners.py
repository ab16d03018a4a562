"""Dags with what few have: partitions, deadlines, backfills, waiting tasks, questions to chosen people."""

from __future__ import annotations

import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import HITLBranchOperator, HITLEntryOperator, HITLOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensor, DateTimeSensorAsync
from airflow.sdk import (
    DAG,
    Asset,
    CronPartitionTimetable,
    DeadlineAlert,
    DeadlineReference,
    FixedKeyMapper,
    Label,
    Param,
    PartitionedAssetTimetable,
    RollupMapper,
    SegmentWindow,
    SyncCallback,
    TaskGroup,
    chain,
    setup,
    task,
    task_group,
    teardown,
)

UTC = datetime.timezone.utc
START, END = datetime.datetime(2026, 1, 1, tzinfo=UTC), datetime.datetime(2026, 1, 20, tzinfo=UTC)
LATER = datetime.datetime(2090, 1, 1, tzinfo=UTC)
FLOUR = Asset("flour", uri="s3://bakery/flour", group="bakery")
YEAST = Asset("yeast", uri="s3://bakery/yeast", group="bakery")
EVERYWHERE = RollupMapper(
    upstream_mapper=FixedKeyMapper("all"), window=SegmentWindow(["north", "south", "west", "east"])
)
NOTHING = SyncCallback("textwrap.dedent", kwargs={"text": "x"})

# Partitions: of the days of a calendar, and as assets come.
with DAG(
    "days",
    schedule=CronPartitionTimetable("0 0 * * *", timezone="Europe/Berlin"),
    start_date=START,
    end_date=datetime.datetime(2026, 1, 4, tzinfo=UTC),
    catchup=True,
):
    EmptyOperator(task_id="only")
with DAG("bread", schedule=PartitionedAssetTimetable(assets=FLOUR & YEAST), tags=["bakery"]):
    EmptyOperator(task_id="bake")
with DAG(
    "harvest", schedule=PartitionedAssetTimetable(assets=FLOUR, default_partition_mapper=EVERYWHERE), tags=["bakery"]
):
    EmptyOperator(task_id="celebrate")

# Assets that one Dag makes, two make, and one may not be asked for.
for dag_id, settings in {
    "mill": {"params": {"grain": Param("rye", enum=["rye", "wheat"])}},
    "brewery": {},
    "bakery": {},
    "by_schedule_alone": {"schedule": "@daily", "catchup": False, "end_date": END, "allowed_run_types": ["scheduled"]},
}.items():
    outlet = {"mill": FLOUR, "by_schedule_alone": Asset("rare", uri="s3://bakery/rare")}.get(dag_id, YEAST)
    with DAG(dag_id, start_date=START, **settings):
        EmptyOperator(task_id="make", outlets=[outlet])

# Deadlines: one missed, one not.
with DAG(
    "late",
    schedule=None,
    start_date=START,
    deadline=[
        DeadlineAlert(
            reference=DeadlineReference.FIXED_DATETIME(datetime.datetime(2020, 1, 1, tzinfo=UTC)),
            interval=datetime.timedelta(seconds=1),
            callback=NOTHING,
            name="passed",
        ),
        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=datetime.timedelta(days=20_000),
            callback=NOTHING,
            name="far",
        ),
    ],
):
    EmptyOperator(task_id="only")

# Backfills: a Dag with runs in every state, one whose backfill stands still, and those that can have none.
with DAG(
    "ledger",
    schedule="@daily",
    start_date=START,
    end_date=END,
    catchup=False,
    params={"fails": Param(False, type="boolean")},
    tags=["backfilled"],
):

    @task
    def book(params=None):
        if params["fails"]:
            raise ValueError("as asked")

    book()
with DAG("standing", schedule="@daily", start_date=START, end_date=END, catchup=False, max_active_runs=1):
    DateTimeSensor(task_id="wait", target_time=LATER, mode="reschedule", poke_interval=86_400)
with DAG("chained", schedule="@daily", start_date=START, end_date=END, catchup=False):
    EmptyOperator(task_id="only", depends_on_past=True)
with DAG(
    "no_backfills", schedule="@daily", start_date=START, end_date=END, allowed_run_types=["manual", "scheduled"]
):
    EmptyOperator(task_id="only")

# Tasks that wait, each in its way.
with DAG("waiting", schedule=None, start_date=START, tags=["waits"]):
    BashOperator(task_id="running", bash_command="sleep 600")
    DateTimeSensorAsync(task_id="deferred", target_time=LATER)
    DateTimeSensor(task_id="rescheduled", target_time=LATER, mode="reschedule", poke_interval=86_400)
    EmptyOperator(task_id="no_slot", pool="closed", inlets=[FLOUR])
    BashOperator(task_id="never_free", bash_command="true", pool="closed", priority_weight=3)

# Groups, mapped and not, with what is set up and torn down; a task that needs a second attempt.
with DAG("grouped", schedule=None, start_date=START, tags=["waits"]):

    @task
    def numbers():
        return [1, 2, 3]

    @task_group
    def each(number):
        @task(map_index_template="number {{ task.op_kwargs['n'] }}")
        def twice(n):
            return 2 * n

        @task
        def odd(n):
            if n == 6:
                raise ValueError("six")

        odd(twice(number))

    @task(retries=1, retry_delay=datetime.timedelta(0))
    def second_time(ti=None):
        if ti.try_number == 1:
            raise ValueError("not yet")

    @setup
    def lend():
        return 1

    @teardown
    def give_back():
        return 2

    with TaskGroup("outer", tooltip="around", prefix_group_id=False):
        with TaskGroup("inner"):
            inside = EmptyOperator(task_id="inside", trigger_rule="all_done")
        last = EmptyOperator(task_id="last", doc_md="the **last**")
    mapped = each.expand(number=numbers())
    chain(mapped, Label("afterwards"), inside, last)
    with lend() >> give_back():
        second_time()

# Questions: for certain people, with several answers, and with a form.
with DAG("asked", schedule=None, start_date=START):
    HITLOperator(
        task_id="chosen_ones",
        subject="Only for some",
        options=["yes", "no"],
        assigned_users=[{"id": "op", "name": "op"}, {"id": "user", "name": "user"}],
    )
    HITLOperator(
        task_id="several",
        subject="Which of them?",
        body="Any of **three**",
        options=["one", "two", "three"],
        defaults=["one", "three"],
        multiple=True,
        response_timeout=datetime.timedelta(days=300),
    )
    HITLEntryOperator(
        task_id="form",
        subject="How many?",
        params={"count": Param(3, type="integer", minimum=1), "name": Param(None, type=["null", "string"])},
    )
    way = HITLBranchOperator(
        task_id="way", subject="Where to?", options=["left", "right"], options_mapping={"left": "on_the_left"}
    )
    way >> [EmptyOperator(task_id="on_the_left"), EmptyOperator(task_id="right")]
