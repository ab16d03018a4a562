"""Answers questions about timetables, partitions and priority weights of plugins and about secrets backends, by official Airflow.

Questions come as frames on standard input, one after the other; each has its answer before the next one comes. What is
asked and answered is described in `tradewind_airflow::evaluation`. Nothing of Airflow is imported before the first question.
"""

import functools
import itertools
import os
import re
import socket
import struct
import traceback
from datetime import datetime, timezone

# What is told of an error at most: a plugin may raise anything.
ERROR_CHARACTERS = 4000

# What the database stores of a partition's key at most.
PARTITION_KEY_CHARACTERS = 250

LENGTH = struct.Struct(">I")


def main():
    """Answer until the socket is closed."""
    import msgspec

    channel = _take_channel()
    while (payload := _read(channel)) is not None:
        number, question = msgspec.msgpack.decode(payload)
        reply = msgspec.msgpack.encode([number, _reply(question)])
        channel.sendall(LENGTH.pack(len(reply)) + reply)


def _take_channel():
    """Move the socket away from standard input, where a plugin would find it."""
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return channel


def _read(channel):
    header = _read_exactly(channel, LENGTH.size)
    return None if header is None else _read_exactly(channel, LENGTH.unpack(header)[0])


def _read_exactly(channel, size):
    data = bytearray()
    while len(data) < size:
        if not (part := channel.recv(min(size - len(data), 1 << 20))):
            return None
        data += part
    return bytes(data)


def _reply(question):
    try:
        return {"answer": ANSWERS[question["type"]](question)}
    except (Exception, SystemExit) as error:
        return {"error": _describe(error)}


def _describe(error):
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    trace = "".join(traceback.format_tb(error.__traceback__))
    text, trace = (_storable(part) for part in (text, trace))
    return {"message": text[:ERROR_CHARACTERS], "traceback": trace[-ERROR_CHARACTERS:]}


def _storable(text):
    """The text without characters that the database does not store."""
    return text.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


# -- timetables ----------------------------------------------------------------------------------------------------------


def _schedule(question):
    """What the Dag processor stores of a timetable (`DagModelOperation.update_dags`)."""
    timetable = _timetable(question)
    last = question["last"]
    return {
        "summary": timetable.summary,
        "description": timetable.description,
        "periodic": bool(timetable.periodic),
        "can_be_scheduled": bool(timetable.can_be_scheduled),
        "partitioned": bool(timetable.partitioned),
        "partition_mapper_info": timetable.partition_mapper_info,
        "next": _next(timetable, lambda: last and _info_of_run(timetable, last), question["restriction"]),
    }


def _create_run(question):
    """What the scheduler needs to make a run and to go on (`SchedulerJobRunner._create_dag_runs`)."""
    from airflow.utils.types import DagRunType

    timetable = _timetable(question)
    due = _run_info(question["due"])
    run_id = timetable.generate_run_id(
        run_type=DagRunType.SCHEDULED,
        run_after=due.run_after,
        data_interval=due.data_interval,
        partition_key=due.partition_key,
    )
    _check_run_id(run_id)
    following = _next(timetable, lambda: _info_of_run(timetable, question["due"]), question["restriction"])
    return {"run_id": run_id, "next": following}


def _check_run_id(run_id):
    """Refuse what `SerializedDAG.create_dagrun` refuses."""
    from airflow.configuration import conf
    from airflow.models.dagrun import RUN_ID_REGEX

    pattern = conf.get("scheduler", "allowed_run_id_pattern").strip()
    if not re.match(RUN_ID_REGEX, run_id) and not (pattern and re.match(pattern, run_id)):
        raise ValueError(f"the timetable gives the run id {run_id!r}, which [scheduler] allowed_run_id_pattern forbids")


def _manual_run(question):
    """Data interval and id of a run by hand (`TriggerDAGRunPostBody.validate_context`)."""
    from airflow.utils.types import DagRunType

    timetable = _timetable(question)
    interval = _interval(question["data_interval"])
    if interval is None and (wanted := _moment(question["infer_for"])) is not None:
        interval = timetable.infer_manual_data_interval(run_after=wanted)
    run_id = question["run_id"] or timetable.generate_run_id(
        run_type=DagRunType(question["run_type"]), run_after=_moment(question["run_after"]), data_interval=interval
    )
    partition_date = timetable.resolve_partition_date(question["partition_key"])
    return {
        "data_interval": _interval_text(interval),
        "run_id": str(run_id),
        "partition_date": _text(partition_date),
        "takes_partition_keys": bool(timetable.partitioned or timetable.partitioned_at_runtime),
    }


def _runs_between(question):
    """The runs of a stretch of time, in order, as far as the timetable tells (`SerializedDAG.iter_dagrun_infos_between`)."""
    restriction = _restriction(question["restriction"])
    runs, error = _following(_timetable(question), _run_info(question["last"]), restriction, question["limit"])
    return {"runs": runs, "error": error}


def _following(timetable, info, restriction, limit):
    """The runs after one, as far as the timetable tells, and why it tells no more."""
    infos = []
    try:
        while len(infos) < limit:
            following = timetable.next_dagrun_info_v2(last_dagrun_info=info, restriction=restriction)
            if following is None or following == info:
                break
            infos.append(_info_text(following))
            info = following
    except Exception as raised:
        return infos, _describe(raised)
    return infos, None


def _backfill_runs(question):
    """The runs of a backfill, with the ids of those of partitions (`_get_info_list` and what follows in `models/backfill.py`)."""
    from airflow.timetables.base import TimeRestriction
    from airflow.utils.types import DagRunType

    timetable = _timetable(question)
    earliest, latest = _given_moment(question["earliest"]), _given_moment(question["latest"])
    answer = {"periodic": bool(timetable.periodic), "partitioned": bool(timetable.partitioned)}
    if not timetable.partitioned:
        restriction = TimeRestriction(earliest, latest, catchup=True)
        runs, error = _following(timetable, None, restriction, question["limit"])
        return answer | {"runs": runs, "run_ids": [], "error": error}
    infos = timetable.iter_partition_dagrun_infos(earliest=earliest, latest=latest)
    infos = list(itertools.islice(infos, question["limit"]))
    run_ids = [
        timetable.generate_run_id(
            run_type=DagRunType.BACKFILL_JOB,
            run_after=info.run_after,
            data_interval=info.data_interval,
            partition_key=info.partition_key,
        )
        for info in infos
    ]
    for run_id in run_ids:
        _check_run_id(run_id)
    return answer | {"runs": [_info_text(info) for info in infos], "run_ids": run_ids, "error": None}


def _timetable(question):
    from airflow.serialization.decoders import decode_timetable

    return decode_timetable(question["timetable"])


def _next(timetable, last, restriction):
    """The next run; as in Airflow an error means that there is none, and is logged."""
    try:
        info = timetable.next_dagrun_info_v2(last_dagrun_info=last(), restriction=_restriction(restriction))
        return {"run": _info_text(info), "error": None}
    except (Exception, SystemExit) as error:
        return {"run": None, "error": _describe(error)}


def _info_of_run(timetable, run):
    """The run that exists, as its own timetable sees it."""
    from airflow.models.dagrun import DagRun

    interval = _interval(run["data_interval"])
    dag_run = DagRun(
        logical_date=interval and interval.start,
        run_after=_moment(run["run_after"]),
        data_interval=interval,
        partition_key=run["partition_key"],
        partition_date=_moment(run["partition_date"]),
    )
    return timetable.run_info_from_dag_run(dag_run=dag_run)


def _restriction(restriction):
    from airflow.timetables.base import TimeRestriction

    return TimeRestriction(_moment(restriction["earliest"]), _moment(restriction["latest"]), restriction["catchup"])


def _run_info(run):
    from airflow.timetables.base import DagRunInfo

    if run is None:
        return None
    return DagRunInfo(
        run_after=_moment(run["run_after"]),
        data_interval=_interval(run["data_interval"]),
        partition_date=_moment(run["partition_date"]),
        partition_key=run["partition_key"],
    )


def _info_text(info):
    return info and {
        "run_after": _text(info.run_after),
        "data_interval": _interval_text(info.data_interval),
        "partition_date": _text(info.partition_date),
        "partition_key": info.partition_key,
    }


def _interval(interval):
    from airflow.timetables.base import DataInterval

    return interval and DataInterval(_moment(interval[0]), _moment(interval[1]))


def _interval_text(interval):
    return interval and [_text(interval.start), _text(interval.end)]


def _moment(text):
    """A moment in the time zone that Airflow reads from its database."""
    import msgspec
    from airflow._shared.timezones.timezone import coerce_datetime, utc

    return text and coerce_datetime(msgspec.convert(text, datetime).astimezone(utc))


def _given_moment(text):
    """A moment in the time zone in which a person gave it."""
    import msgspec
    from airflow._shared.timezones.timezone import coerce_datetime

    return coerce_datetime(msgspec.convert(text, datetime))


def _text(moment):
    """As it is stored, in UTC; Airflow refuses to store a moment without a time zone (`UtcDateTime`)."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("naive datetime is disallowed")
    return moment.astimezone(timezone.utc).isoformat()


# -- partitions ----------------------------------------------------------------------------------------------------------


def _map_partition(question):
    """The partitions of a Dag that an event is for (`AssetManager._queue_partitioned_dags`)."""
    from airflow.utils.helpers import is_container

    mapper = _partition_mapper(question)
    keys = mapper.to_downstream(question["partition_key"])
    keys = list(keys) if is_container(keys) else [keys]
    for key in keys:
        _check_partition_key(key)
    limit = mapper.max_downstream_keys
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise ValueError(f"max_downstream_keys is {limit!r}, not a number of keys")
    try:
        date = _text(mapper.carry_partition_date(_moment(question["partition_date"])))
    except Exception:
        # As in Airflow: the event counts, without a date.
        traceback.print_exc()
        date = None
    return {"keys": keys, "max_downstream_keys": limit, "partition_date": date}


def _check_partition_key(key):
    """Refuses what the database does not store as a key (`StringID`)."""
    if not isinstance(key, str):
        raise TypeError(f"to_downstream gave {key!r}, not a text")
    if len(key) > PARTITION_KEY_CHARACTERS:
        raise ValueError(f"to_downstream gave a key of {len(key)} characters; {PARTITION_KEY_CHARACTERS} are allowed")
    if "\0" in key:
        raise ValueError(f"to_downstream gave {key!r}, a key with a NUL character")
    key.encode()


def _partition_states(question):
    return {"states": [_partition_state(asked) for asked in question["partitions"]]}


def _partition_state(asked):
    """Whether a partition has enough of an asset (`SchedulerJobRunner._resolve_asset_partition_status`), and its date."""
    state = {"satisfied": False, "unreachable": None, "error": None, "date": None, "date_error": None}
    try:
        mapper = _partition_mapper(asked)
        if not mapper.is_rollup:
            state["satisfied"] = True
        else:
            expected = mapper.to_upstream(asked["partition_key"])
            result = mapper.wait_policy.is_satisfied_by_keys(matched=set(asked["received"]), expected=expected)
            state["satisfied"] = bool(result.satisfied and not result.unreachable)
            state["unreachable"] = _storable(str(result.unreachable_reason)) if result.unreachable else None
    except (Exception, SystemExit) as error:
        return state | {"error": _describe(error)}
    try:
        state["date"] = _text(mapper.to_partition_date(asked["partition_key"]))
    except (Exception, SystemExit) as error:
        state["date_error"] = _describe(error)
    return state


def _partition_mapper(asked):
    from airflow.serialization.decoders import decode_partition_mapper

    return decode_partition_mapper(asked["mapper"])


# -- priority weights ----------------------------------------------------------------------------------------------------


def _priority_weights(question):
    """Weights of new or cleared task instances (`TaskInstance.insert_mapping`, `TaskInstance.refresh_from_task`)."""
    from airflow.serialization.serialized_objects import DagSerialization

    dag = DagSerialization.from_dict(question["dag"])
    return {"weights": [_weight(dag, asked) for asked in question["task_instances"]]}


def _weight(dag, asked):
    from airflow.models.taskinstance import TaskInstance

    try:
        task = dag.get_task(asked["task_id"])
        task_instance = TaskInstance(
            task, run_id=asked["run_id"], map_index=asked["map_index"], dag_version_id=asked["dag_version_id"]
        )
        task_instance.try_number = asked["try_number"]
        weight = task.weight_rule.get_weight(task_instance)
        if not isinstance(weight, int):
            raise TypeError(f"get_weight gave {weight!r}, not a whole number")
        return {"weight": int(weight), "error": None}
    except (Exception, SystemExit) as error:
        return {"weight": None, "error": _describe(error)}


# -- deadlines -------------------------------------------------------------------------------------------------------------


def _deadline_reference(question):
    """What a deadline of a run counts from (`SerializedCustomReference.evaluate_with`).

    Official schedulers hand the class a session of the metadata database. Here it is one of a database in memory, which has
    the rows of `dag_run` that came with the question.
    """
    from datetime import timedelta

    from airflow.serialization.decoders import decode_deadline_reference

    reference = decode_deadline_reference(question["reference"])
    with _session(question["dag_runs"]) as session:
        moment = reference.evaluate_with(
            session=session, interval=timedelta(), dag_id=question["dag_id"], run_id=question["run_id"]
        )
    return {"moment": _text(moment)}


def _session(dag_runs):
    from uuid import UUID

    from airflow.models.dagrun import DagRun
    from airflow.utils.sqlalchemy import UtcDateTime
    from sqlalchemy import Uuid, create_engine, insert
    from sqlalchemy.orm import Session

    table = DagRun.__table__
    # Identifiers of traces, in an encoding of their own.
    columns = [column for column in table.columns if column.name != "context_carrier"]

    def value(row, column):
        stored = row[column.name]
        if isinstance(column.type, UtcDateTime):
            return _moment(stored)
        return UUID(stored) if stored and isinstance(column.type, Uuid) else stored

    session = Session(create_engine("sqlite://"))
    table.create(session.connection())
    rows = [{column.name: value(row, column) for column in columns} for row in dag_runs]
    session.execute(insert(table), rows)
    return session


# -- what is installed ---------------------------------------------------------------------------------------------------


def _environment(question):
    """What the API server finds out for itself (`public/plugins.py`, `public/config.py`, `ui/connections.py` of its routes)."""
    from airflow import plugins_manager
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    errors = plugins_manager.get_import_errors()
    return {
        "plugins": _plugins(),
        "plugin_import_errors": [{"source": source, "error": error} for source, error in errors.items()],
        "connection_types": [form.model_dump(mode="json", by_alias=True) for form in HookMetaService.hook_meta_data()],
        "configuration": _provided_configuration(),
    }


def _plugins():
    from airflow import plugins_manager
    from airflow.api_fastapi.core_api.datamodels.plugins import PluginResponse
    from pydantic import ValidationError

    plugins = []
    for plugin in sorted(plugins_manager.get_plugin_info(), key=lambda plugin: plugin["name"]):
        try:
            plugins.append(PluginResponse.model_validate(plugin).model_dump(mode="json", by_alias=True))
        except ValidationError as error:
            # As in Airflow: one that makes no sense is not shown.
            print(f"plugin {plugin.get('name')} is not shown: {error}")
    return plugins


def _provided_configuration():
    """Options that packages of providers describe, or that Airflow knows of some of them, in the order in which
    `AirflowConfigParser.as_dict` meets them."""
    from airflow.configuration import conf

    sections = {}
    for source in (
        conf._provider_cfg_config_fallback_default_values,
        conf._provider_metadata_config_fallback_default_values,
    ):
        for section in source.sections():
            sections.setdefault(section, {}).update(source.items(section))
    # Those that have no default show only when they are set.
    for section, described in conf._provider_metadata_configuration_description.items():
        for key in described["options"]:
            sections.setdefault(section, {}).setdefault(key, None)
    secret = conf.is_sensitive_option
    return [
        {
            "name": section,
            "options": [
                {"key": key, "default": value, "sensitive": secret(section, key)} for key, value in options.items()
            ],
        }
        for section, options in sections.items()
    ]


# -- connections ---------------------------------------------------------------------------------------------------------


def _connection_test(question):
    """Have the hook of a connection try it (`test_connection` in `routes/public/connections.py`).

    Hooks look for the connection by its id, so it is in the environment under an id of its own. This process answers
    nothing after that.
    """
    import secrets

    from airflow.models.connection import Connection
    from airflow.secrets.environment_variables import CONN_ENV_PREFIX

    connection = Connection(conn_id=f"test_{secrets.token_hex(8)}", **question["connection"])
    os.environ[CONN_ENV_PREFIX + connection.conn_id.upper()] = connection.get_uri()
    status, message = connection.test_connection()
    return {"status": bool(status), "message": str(message)}


# -- secrets ----------------------------------------------------------------------------------------------------------------


def _secret(question):
    """What the API server asks of the backend of `[secrets]` (`get_connection_from_secrets`, `get_variable_from_secrets`)."""
    from airflow._shared.secrets_backend.base import call_secrets_backend_method
    from airflow.models.connection import AirflowSecretsBackendAccessDenied

    backend = _secrets_backend()
    kind, name = question["kind"], question["name"]
    method, argument = {"connection": ("get_connection", "conn_id"), "variable": ("get_variable", "key")}[kind]
    try:
        found = call_secrets_backend_method(getattr(backend, method), team_name=None, **{argument: name})
    except AirflowSecretsBackendAccessDenied as denied:
        return {"denied": str(denied)[:ERROR_CHARACTERS]}
    if found is None or (kind == "connection" and not found):
        return "nothing"
    if kind == "connection":
        return {"connection": _connection_fields(found)}
    if not isinstance(found, str):
        raise TypeError(f"get_variable gave a {type(found).__name__}, not a text")
    return {"variable": found}


@functools.cache
def _secrets_backend():
    """The backend, which lives as long as this process (`initialize_secrets_backends`)."""
    from airflow.configuration import get_custom_secret_backend
    from airflow.models.connection import Connection

    backend = get_custom_secret_backend()
    if backend is None:
        raise LookupError("[secrets] backend names no class")
    backend._set_connection_class(Connection)
    return backend


def _connection_fields(connection):
    """What the execution API tells of a connection."""
    from airflow.api_fastapi.execution_api.datamodels.connection import ConnectionResponse

    return ConnectionResponse.model_validate(connection).model_dump(mode="json", by_alias=True)


ANSWERS = {
    "schedule": _schedule,
    "create_run": _create_run,
    "manual_run": _manual_run,
    "runs_between": _runs_between,
    "backfill_runs": _backfill_runs,
    "map_partition": _map_partition,
    "partition_states": _partition_states,
    "priority_weights": _priority_weights,
    "deadline_reference": _deadline_reference,
    "environment": _environment,
    "connection_test": _connection_test,
    "secret": _secret,
}
