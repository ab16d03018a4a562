"""Records what the official Dag processor writes about Dag files."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

from normalise import Normaliser, write
from psycopg.rows import dict_row
from scenario import CONFORMANCE

# Columns that depend on the moment of parsing; those under OCCURRENCE keep whether they are set.
VOLATILE = {"last_parsed_time", "last_parse_duration", "last_expired"}
OCCURRENCE = {
    "next_dagrun", "next_dagrun_data_interval_start", "next_dagrun_data_interval_end", "next_dagrun_create_after",
    "next_dagrun_partition_date", "next_dagrun_partition_key",
}  # fmt: skip

VERSIONS = """
    select v.dag_id, v.version_number, v.bundle_name, v.bundle_version, v.version_data, s.dag_hash, s.data,
           c.fileloc, c.source_code_hash
      from dag_version v
      join serialized_dag s on s.dag_version_id = v.id
      join dag_code c on c.dag_version_id = v.id
     order by v.dag_id, v.version_number"""

# One list of rows per Dag and name.
PER_DAG = {
    "tags": "select dag_id, name from dag_tag",
    "warnings": "select dag_id, warning_type, message from dag_warning",
    "owner_links": "select dag_id, owner, link from dag_owner_attributes",
    "schedule_assets": """select r.dag_id, a.name, a.uri, r.allow_producer_teams, r.allow_global_producers
          from dag_schedule_asset_reference r join asset a on a.id = r.asset_id""",
    "schedule_asset_names": "select dag_id, name from dag_schedule_asset_name_reference",
    "schedule_asset_uris": "select dag_id, uri from dag_schedule_asset_uri_reference",
    "schedule_asset_aliases": """select r.dag_id, a.name from dag_schedule_asset_alias_reference r
          join asset_alias a on a.id = r.alias_id""",
    "outlets": """select r.dag_id, r.task_id, a.name, a.uri, r.allow_consumer_teams, r.allow_global_consumers
          from task_outlet_asset_reference r join asset a on a.id = r.asset_id""",
    "inlets": """select r.dag_id, r.task_id, a.name, a.uri
          from task_inlet_asset_reference r join asset a on a.id = r.asset_id""",
}

# Tables that belong to no single Dag.
SHARED = {
    "asset": 'select name, uri, "group", extra from asset order by name, uri',
    # Of several assets with one name or one URI, the file parsed first decides which becomes active.
    "asset_active": """select name, uri from asset_active v where not exists (
          select from asset a where (a.name = v.name) <> (a.uri = v.uri)) order by name, uri""",
    "asset_alias": 'select name, "group" from asset_alias order by name',
    "asset_watcher": """select a.name as asset, w.name, t.classpath from asset_watcher w
          join asset a on a.id = w.asset_id join trigger t on t.id = w.trigger_id order by 1, 2""",
    "dag_bundle": "select name, active, version, signed_url_template, template_params from dag_bundle order by name",
    "deadline_alert": """select s.dag_id, d.name, d.description, d.reference, d.interval, d.callback_def
          from deadline_alert d join serialized_dag s on s.id = d.serialized_dag_id order by 1, 2""",
}


def _rows(connection, query: str) -> list[dict]:
    return connection.cursor(row_factory=dict_row).execute(query).fetchall()


def _without_ids(expression):
    """An asset expression without the ids of its assets in the database."""
    if isinstance(expression, list):
        return [_without_ids(inner) for inner in expression]
    if isinstance(expression, dict):
        return {name: _without_ids(inner) for name, inner in expression.items() if name != "id"}
    return expression


def _with_sorted_template_fields(data):
    """Some operators make theirs from a set, whose order changes from process to process."""
    if isinstance(data, list):
        return [_with_sorted_template_fields(inner) for inner in data]
    if isinstance(data, dict):
        return {
            name: sorted(inner) if name == "template_fields" else _with_sorted_template_fields(inner)
            for name, inner in data.items()
        }
    return data


def _without_today(data, days: set[str]):
    """Some Dags hold the day on which they were parsed, as the default of a parameter."""
    if isinstance(data, list):
        return [_without_today(inner, days) for inner in data]
    if isinstance(data, dict):
        return {name: _without_today(inner, days) for name, inner in data.items()}
    if isinstance(data, str):
        for day in days:
            data = data.replace(day, "${TODAY}")
    return data


def _without_alert_ids(data: dict) -> dict:
    """A stored Dag names its deadline alerts by their ids in the database."""
    if alerts := data["dag"].get("deadline"):
        data["dag"]["deadline"] = ["${ID}"] * len(alerts)
    return data


def _dag_row(row: dict) -> dict:
    row["asset_expression"] = _without_ids(row["asset_expression"])
    kept = {name: value for name, value in row.items() if name not in VOLATILE}
    return {name: "${TIME}" if name in OCCURRENCE and value else value for name, value in kept.items()}


def _files(connection) -> dict:
    """Per bundle and file: the Dag ids found, and the first and last line of an import error."""
    files: dict[str, dict] = {}

    def entry(bundle: str, path: str) -> dict:
        return files.setdefault(bundle, {}).setdefault(path, {"dag_ids": [], "import_error": None})

    for row in _rows(connection, "select dag_id, bundle_name, relative_fileloc from dag order by dag_id"):
        entry(row["bundle_name"], row["relative_fileloc"])["dag_ids"].append(row["dag_id"])
    for row in _rows(connection, "select bundle_name, filename, stacktrace from import_error"):
        lines = row["stacktrace"].strip().splitlines()
        entry(row["bundle_name"], row["filename"])["import_error"] = {"first": lines[0], "last": lines[-1]}
    return files


def _dags(connection, days: set[str]) -> dict[str, dict]:
    dags = {
        row["dag_id"]: {"dag": _dag_row(row), "versions": [], **{name: [] for name in PER_DAG}}
        for row in _rows(connection, "select * from dag")
    }
    for row in _rows(connection, VERSIONS):
        row["data"] = _without_alert_ids(_without_today(_with_sorted_template_fields(row["data"]), days))
        dags[row.pop("dag_id")]["versions"].append(row)
    for name, query in PER_DAG.items():
        for row in _rows(connection, query):
            dags[row.pop("dag_id")][name].append(row)
        for dag in dags.values():
            dag[name].sort(key=str)
    return dags


def _write_shared(path: Path, rows: list[dict], keep: bool) -> None:
    """One row a line, sorted: a merge of two branches is the lines of both (`.gitattributes`)."""
    lines = {json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows}
    if keep and path.exists():
        lines |= {*path.read_text().splitlines()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in sorted(lines)))


def record(connection, normalise: Normaliser, folder: Path, subjects: list[str] | None = None) -> None:
    """Writes `files/<bundle>/<path>.json`, `serialized/<dag_id>.json` and `shared/<table>.jsonl` under `folder`, which
    lose what is there; or, of some subjects alone (files in `dags/`, without `.py`), adds to what is there."""
    files = normalise(_files(connection))
    if subjects:
        files = {CONFORMANCE: {f"{subject}.py": files[CONFORMANCE][f"{subject}.py"] for subject in subjects}}
    else:
        for name in ("files", "serialized", "shared"):
            shutil.rmtree(folder / name, ignore_errors=True)
    for bundle, paths in files.items():
        for path, facts in paths.items():
            write(folder / "files" / bundle / f"{path}.json", facts)
    # Two days, should midnight have passed meanwhile.
    days = {str(normalise.began.astimezone().date()), str(date.today())}
    dags = _dags(connection, days)
    for dag_id in (dag_id for paths in files.values() for facts in paths.values() for dag_id in facts["dag_ids"]):
        write(folder / "serialized" / f"{dag_id}.json", normalise(dags[dag_id]))
    for name, query in SHARED.items():
        _write_shared(folder / "shared" / f"{name}.jsonl", normalise(_rows(connection, query)), keep=bool(subjects))
