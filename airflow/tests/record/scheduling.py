"""Makes random Dags and runs, and writes what the scheduler of official Airflow makes of them.

Each case is run in several processes, with the rows of the database in another order; only cases in which all agree are
kept, because Airflow checks the dependencies of a task instance in an order that differs between processes.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
import random
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
FLAVOURS = ["plain", "setup", "map", "group"]
RULES = [
    *["all_success"] * 4,
    "all_failed",
    "all_done",
    "all_done_min_one_success",
    "one_success",
    "one_failed",
    "one_done",
    *["none_failed"] * 2,
    "none_skipped",
    "always",
    *["none_failed_min_one_success"] * 2,
    "all_skipped",
]
GROUP_RULES = [rule for rule in RULES if rule != "always"]  # refused in a mapped group
STATES = [
    *[None] * 6,
    *["success"] * 5,
    "failed",
    *["skipped"] * 2,
    "upstream_failed",
    "removed",
    "up_for_retry",
    "queued",
    "running",
    "scheduled",
]
UNFINISHED = {None, "up_for_retry", "queued", "running", "scheduled"}
REPETITIONS = 3


def nothing(*_args, **_kwargs) -> None:
    """What tasks do; they never run."""


def random_dag(rng: random.Random, dag_id: str, flavour: str):
    from airflow.sdk import DAG, TaskGroup
    from airflow.sdk.definitions._internal.contextmanager import DagContext, TaskGroupContext

    # A Dag that was refused half-way leaves its contexts behind.
    TaskGroupContext._context.clear()
    DagContext._context.clear()
    with DAG(dag_id, start_date=START, schedule=None) as dag:
        nodes: list = []
        for number in range(rng.randint(2, 7)):
            tasks = [node for node in nodes if not isinstance(node, TaskGroup)]
            dice = rng.random()
            if flavour in ("map", "group") and nodes and dice < 0.35:
                node = mapped_task(rng, number, tasks)
            elif flavour == "group" and nodes and dice < 0.6:
                node = mapped_group(rng, number, tasks)
            else:
                node = plain_task(rng, number)
            for earlier in nodes:
                if rng.random() < 0.4:
                    earlier >> node
            nodes.append(node)
        if flavour == "setup":
            add_setups(rng, nodes)
    return dag


def plain_task(rng: random.Random, number: int):
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.providers.standard.operators.python import PythonOperator

    arguments = {
        "task_id": f"t{number}",
        "trigger_rule": rng.choice(RULES),
        "retries": rng.choice([0, 0, 1]),
    }
    if rng.random() < 0.25:
        return EmptyOperator(**arguments)
    return PythonOperator(python_callable=nothing, **arguments)


def mapped_over(rng: random.Random, tasks: list, longest: int, shortest: int):
    from airflow.sdk import XComArg

    if not tasks or rng.random() < 0.3:
        return [[item] for item in range(rng.randint(shortest, longest))]
    return XComArg(rng.choice(tasks))


def mapped_task(rng: random.Random, number: int, tasks: list):
    from airflow.providers.standard.operators.python import PythonOperator

    partial = PythonOperator.partial(
        task_id=f"t{number}", python_callable=nothing, trigger_rule=rng.choice(RULES[:4] + RULES)
    )
    return partial.expand(op_args=mapped_over(rng, tasks, 3, 0))


def mapped_group(rng: random.Random, number: int, tasks: list):
    from airflow.providers.standard.operators.python import PythonOperator
    from airflow.sdk import task_group

    def task(name: str, value):
        rule = rng.choice(GROUP_RULES)
        return PythonOperator(task_id=name, python_callable=nothing, op_args=[value], trigger_rule=rule)

    is_nested = rng.random() < 0.3

    @task_group(group_id=f"g{number}")
    def group(value):
        inner: list = []
        for place in range(rng.randint(1, 3)):
            node = task(f"i{place}", value)
            if inner and rng.random() < 0.8:
                rng.choice(inner) >> node
            inner.append(node)
        if is_nested:

            @task_group(group_id="n")
            def nested(value):
                first, second = task("d", value), task("e", value)
                rng.choice(inner) >> first
                if rng.random() < 0.7:
                    first >> second

            nested.expand(value=[1, 2][: rng.randint(1, 2)])

    return group.expand(value=mapped_over(rng, tasks, 3, 1))


def add_setups(rng: random.Random, nodes: list) -> None:
    from airflow.providers.standard.operators.python import PythonOperator

    for node in nodes:
        if rng.random() < 0.25:
            node.as_setup()
    for number, setup in enumerate([node for node in nodes if node.is_setup]):
        if rng.random() < 0.2:
            continue
        teardown = PythonOperator(task_id=f"td{number}", python_callable=nothing)
        teardown.as_teardown(setups=setup, on_failure_fail_dagrun=rng.random() < 0.3)
        for node in nodes:
            if not node.is_setup and rng.random() < 0.4:
                node >> teardown


def case(rng: random.Random, name: str, flavour: str) -> dict:
    from airflow.models.taskinstance import TaskInstance
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.session import create_session
    from sqlalchemy import select

    dag_id = f"{name}_{uuid.uuid4().hex[:6]}"
    document = DagSerialization.to_dict(dag := random_dag(rng, dag_id, flavour))
    with create_session() as session:
        scheduler_dag, run = make_run(dag, document, session)
        instances = run.get_task_instances(session=session)
        created = sorted([ti.task_id, ti.map_index] for ti in instances)
        give_states(rng, scheduler_dag, instances)
        session.flush()
        lengths, counts = give_outputs(rng, scheduler_dag, instances, session)
        shuffle_rows(instances, session)
        before = [facts(ti) for ti in run.get_task_instances(session=session)]
        run_state = settle(scheduler_dag, dag_id, session)
        after = session.scalars(select(TaskInstance).where(TaskInstance.dag_id == dag_id)).all()
    document["dag"].update(
        dag_id=name, fileloc="/dags/random.py", relative_fileloc="random.py", _processor_dags_folder="/dags"
    )
    return {
        "name": name,
        "document": document,
        "created": created,
        "task_instances": before,
        "task_map_lengths": lengths,
        "return_value_counts": counts,
        "run_state": run_state,
        "after": sorted(([*identity(ti), state(ti), ti.try_number] for ti in after), key=str),
    }


def make_run(dag, document: dict, session):
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
    from airflow.timetables.base import DataInterval
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    lazy = LazyDeserializedDAG.from_dag(dag)
    SerializedDAG.bulk_write_to_db("recorder", None, [lazy], session=session)
    SerializedDagModel.write_dag(lazy, bundle_name="recorder", session=session)
    session.commit()
    scheduler_dag = DagSerialization.from_dict(json.loads(json.dumps(document)))
    run = scheduler_dag.create_dagrun(
        run_id="r",
        run_type=DagRunType.MANUAL,
        state=DagRunState.RUNNING,
        logical_date=START,
        data_interval=DataInterval(START, START),
        run_after=START,
        triggered_by=DagRunTriggeredByType.TEST,
        session=session,
    )
    run.dag = scheduler_dag
    return scheduler_dag, run


def give_states(rng: random.Random, dag, instances: list) -> None:
    """Mostly states that a run could be in, sometimes any."""
    by_task: dict = {}
    for ti in instances:
        by_task.setdefault(ti.task_id, []).append(ti)
    is_plausible, waits = rng.random() < 0.6, rng.random()
    for task in dag.tasks:
        upstream = [ti for name in sorted(task.upstream_task_ids) for ti in by_task.get(name, [])]
        for ti in by_task.get(task.task_id, []):
            is_blocked = is_plausible and any(state(up) in UNFINISHED for up in upstream)
            ti.state = None if is_blocked or rng.random() < waits else rng.choice(STATES)
            if ti.state in ("success", "failed", "up_for_retry", "skipped", "upstream_failed"):
                ti.end_date = START
            if ti.state in ("success", "failed", "up_for_retry", "running", "queued", "scheduled"):
                ti.try_number = 1


def give_outputs(rng: random.Random, dag, instances: list, session) -> tuple[dict, dict]:
    from airflow.models.taskmap import TaskMap
    from airflow.models.xcom import XComModel

    lengths: dict[str, int] = {}
    counts: dict[str, int] = {}
    for ti in instances:
        if ti.state != "success" or rng.random() < 0.1:
            continue
        key = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
        length = rng.randint(0, 3)
        is_mapped = dag.get_task(ti.task_id).is_mapped
        if ti.map_index >= 0:
            XComModel.set(key="return_value", value=list(range(length)), session=session, **key)
            if is_mapped:
                counts[ti.task_id] = counts.get(ti.task_id, 0) + 1
        elif not is_mapped:
            session.add(TaskMap(length=length, keys=None, **key))
            lengths[ti.task_id] = length
    session.commit()
    return lengths, counts


def shuffle_rows(instances: list, session) -> None:
    shuffled = list(instances)
    random.SystemRandom().shuffle(shuffled)
    for ti in shuffled:
        ti.hostname = uuid.uuid4().hex[:4]
        session.flush()
    session.commit()


def settle(scheduler_dag, dag_id: str, session) -> str:
    """Lets the scheduler decide until nothing changes any more."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    last = None
    for _ in range(30):
        session.expire_all()
        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id))
        run.dag = scheduler_dag
        instances = session.scalars(select(TaskInstance).where(TaskInstance.dag_id == dag_id)).all()
        now = (str(run.state), sorted((*identity(ti), str(ti.state), ti.try_number) for ti in instances))
        if now == last or str(run.state) != "running":
            return str(run.state)
        last = now
        ready, _callback = run.update_state(session=session, execute_callbacks=False)
        run.schedule_tis(ready, session=session)
        session.commit()
    raise RuntimeError(f"{dag_id} does not settle")


def identity(ti) -> tuple[str, int]:
    return ti.task_id, ti.map_index


def state(ti) -> str | None:
    return str(ti.state) if ti.state else None


def facts(ti) -> dict:
    return {
        "id": str(ti.id),
        "task_id": ti.task_id,
        "map_index": ti.map_index,
        "state": state(ti),
        "try_number": ti.try_number,
        "max_tries": ti.max_tries,
        "end_date": ti.end_date.isoformat() if ti.end_date else None,
    }


def record_once(seed: int, count: int) -> dict[str, dict]:
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        if not session.scalar(select(DagBundleModel).where(DagBundleModel.name == "recorder")):
            session.add(DagBundleModel(name="recorder"))
    cases = {}
    for flavour in FLAVOURS:
        for number in range(count):
            name = f"{flavour}_{number}"
            try:
                cases[name] = case(random.Random(f"{seed} {name}"), name, flavour)
            except (ValueError, NotImplementedError) as error:  # a Dag that Airflow refuses
                print(f"{name}: {error}", file=sys.stderr)
    return cases


def outcome(case: dict) -> str:
    return json.dumps([case["run_state"], case["after"]])


def change(case: dict) -> float:
    """How much happens in a case, for its size."""
    before = {(ti["task_id"], ti["map_index"]): ti["state"] for ti in case["task_instances"]}
    changed = sum(before.get((task, index), "new") != to for task, index, to, _ in case["after"])
    return changed / len(json.dumps(case["document"])) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--cases", type=int, default=80, help="of each flavour")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=int, default=10, help="of each flavour")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        logging.disable(logging.CRITICAL)
        arguments.file.write_text(json.dumps(record_once(arguments.seed, arguments.cases)))
        return
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(number) for number in range(REPETITIONS)]
        options = ["--once", "--cases", str(arguments.cases), "--seed", str(arguments.seed)]
        for file in files:
            subprocess.run([sys.executable, __file__, str(file), *options], check=True)
        first, *others = [json.loads(file.read_text()) for file in files]
    agreed = [
        case for name, case in first.items() if all(outcome(other[name]) == outcome(case) for other in others)
    ]
    kept = []
    for flavour in FLAVOURS:
        of_flavour = [case for case in agreed if case["name"].startswith(flavour)]
        kept.extend(sorted(of_flavour, key=change, reverse=True)[: arguments.keep])
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in kept)
    arguments.file.write_text(f"[\n{lines}\n]\n")
    print(f"{len(kept)} cases kept of {len(agreed)} on which {REPETITIONS} processes agree, of {len(first)}")


if __name__ == "__main__":
    main()
