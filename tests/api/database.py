"""The recorded data: dumped, restored, and compared with what a call made of it.

A pristine copy of every table lies in a schema of its own. So what a call changed is one query, and undoing it
needs neither a new database nor a new connection of the server.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

from official import Postgres

PRISTINE = "pristine"
DATABASE = "airflow"
# What servers write of themselves, at any time.
UNWATCHED = {"alembic_version", "job", "session", "revoked_token"}


def _tool(postgres: Postgres, name: str, *arguments: str, **options) -> subprocess.CompletedProcess:
    where = ["-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres", "-d", DATABASE]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [postgres._binary(name), *where, *arguments], check=True, env=environment, capture_output=True, **options
    )


def dump(postgres: Postgres, path: Path, replacements: dict[str, str]) -> None:
    """Writes schema and data, with the folders of this machine replaced."""
    text = _tool(postgres, "pg_dump", "--no-owner", "--no-privileges").stdout.decode()
    for found, written in replacements.items():
        text = text.replace(found, written)
    # `\restrict` carries a random key.
    lines = [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n", mtime=0))


def restore(postgres: Postgres, path: Path) -> None:
    """Replaces the database by the dumped one."""
    with postgres.connect("postgres") as connection:
        connection.execute(f"drop database if exists {DATABASE} with (force)")
        connection.execute(f"create database {DATABASE}")
    _tool(postgres, "psql", "-q", "-v", "ON_ERROR_STOP=1", input=gzip.decompress(path.read_bytes()))


class Tables:
    """All tables of Airflow's schema, and their pristine copies."""

    def __init__(self, connection):
        self.connection = connection
        rows = connection.execute("select tablename from pg_tables where schemaname = 'public' order by 1")
        self.names = [name for (name,) in rows if name not in UNWATCHED]
        self.keys = {name: self._key(name) for name in self.names}
        connection.execute(f"drop schema if exists {PRISTINE} cascade; create schema {PRISTINE}")
        for name in self.names:
            connection.execute(f"create table {PRISTINE}.{name} as table public.{name}")
        (self.sequences,) = connection.execute(
            "select 'select ' || string_agg(format('setval(%L, %s, %L)', format('public.%I', sequencename),"
            " coalesce(last_value, 1), last_value is not null), ', ') from pg_sequences where schemaname = 'public'"
        ).fetchone()
        # How many rows a table has, and the transactions that wrote them: whatever writes to it changes one of these.
        marks = (f"select '{name}', count(*), sum(xmin::text::bigint) from public.{name}" for name in self.names)
        self.marks_query = " union all ".join(marks)
        self.marks = self._marks()

    def _marks(self) -> dict[str, tuple]:
        return {name: tuple(marks) for name, *marks in self.connection.execute(self.marks_query)}

    def _written(self) -> list[str]:
        """Tables that were written to since they were pristine."""
        return [name for name, marks in self._marks().items() if marks != self.marks[name]]

    @staticmethod
    def _query(names: list[str]) -> str:
        sides = []
        for name in names:
            before, after = (f"select to_jsonb(t)::text r from {schema}.{name} t" for schema in (PRISTINE, "public"))
            sides.append(f"select '{name}', 'before', r from ({before} except all {after}) b")
            sides.append(f"select '{name}', 'after', r from ({after} except all {before}) a")
        return " union all ".join(sides)

    def _key(self, name: str) -> list[str]:
        rows = self.connection.execute(
            "select a.attname from pg_index i"
            " join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey) where i.indisprimary and i.indrelid = ('public.' || quote_ident(%s))::regclass",
            (name,),
        )
        return [column for (column,) in rows]

    def changes(self) -> dict[str, dict]:
        """By table: rows `added`, keys of rows `removed`, and key and new values of rows `changed`."""
        sides: dict[str, dict[str, dict]] = {}
        if not (written := self._written()):
            return {}
        for name, side, text in self.connection.execute(self._query(written)):
            row = json.loads(text)
            key = json.dumps([row[column] for column in self.keys[name]])
            sides.setdefault(name, {"before": {}, "after": {}})[side][key] = row
        return {name: self._compare(name, **found) for name, found in sides.items()}

    def _compare(self, name: str, before: dict, after: dict) -> dict:
        def key(row: dict) -> dict:
            return {column: row[column] for column in self.keys[name]}

        found = {
            "added": [row for text, row in after.items() if text not in before],
            "removed": [key(row) for text, row in before.items() if text not in after],
            "changed": [
                {"of": key(row), "to": {name: value for name, value in row.items() if before[text][name] != value}}
                for text, row in after.items()
                if text in before
            ],
        }
        return {kind: rows for kind, rows in found.items() if rows}

    def undo(self, names) -> None:
        """Brings these tables back, and all sequences."""
        statements = ["set local session_replication_role = replica"]
        for name in names:
            statements.append(f"delete from public.{name}")
            statements.append(f"insert into public.{name} overriding system value table {PRISTINE}.{name}")
        statements.append(self.sequences)
        with self.connection.transaction():
            self.connection.execute(";".join(statements))
        self.marks = self._marks()
