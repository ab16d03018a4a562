"""Tradewind in the place of official Airflow: the same environment, one program."""

from __future__ import annotations

import subprocess
from pathlib import Path

from official import START_TIMEOUT_SECONDS, VENV, Official, wait_until

PARSE_TIMEOUT_SECONDS = 300


class Tradewind(Official):
    """`tradewind standalone` under `folder`, on a Postgres of the test's own."""

    def __init__(self, program: Path, folder: Path, bundles: dict[str, Path], options: dict[str, str] | None = None):
        super().__init__(folder, bundles, {"AIRFLOW__TRADEWIND__VENV": str(VENV)} | (options or {}))
        self.program = program

    def start(self, *components: str) -> None:
        del components  # `standalone` starts what there is
        command = [self.program, "standalone", "--home", self.home, "--port", str(self.port), "--slots", "12"]
        with open(self.home / "standalone.log", "ab") as log:
            self.processes["standalone"] = subprocess.Popen(
                command, env=self.environment(), cwd=self.home, stdout=log, stderr=log, start_new_session=True
            )

    def prepare(self) -> None:
        self.home.mkdir(parents=True)
        self.postgres.start()
        (self.home / "simple_auth_manager_passwords.json.generated").write_text(f'{{"{self.user}": "{self.password}"}}')

    def wait_parsed(self, files: int) -> None:
        """Waits until every Dag file was parsed, by what the database knows of files: Dags and import errors."""
        known = """select count(*) from (select bundle_name, relative_fileloc from dag
            union select bundle_name, filename from import_error) as files"""
        self._wait_for_rows(known, (), files, "the parsing of every Dag file")

    def wait_for_dags(self, dag_ids: set[str]) -> None:
        known = "select count(*) from dag where dag_id = any(%s)"
        try:
            self._wait_for_rows(known, (sorted(dag_ids),), len(dag_ids), "the parsing of the Dags needed")
        except TimeoutError as error:
            with self.postgres.connect() as connection:
                there = {row[0] for row in connection.execute("select dag_id from dag")}
                errors = [row[0] for row in connection.execute("select filename from import_error")]
            error.add_note(f"not there: {sorted(dag_ids - there)}; import errors: {errors}")
            raise

    def _wait_for_rows(self, query: str, parameters: tuple, rows: int, what: str) -> None:
        def started() -> bool:
            if (code := self.processes["standalone"].poll()) is not None:
                raise RuntimeError(f"tradewind ended with {code}: {(self.home / 'standalone.log').read_text()}")
            return self.rest.healthy("scheduler", "dag_processor")

        def there() -> bool:
            with self.postgres.connect() as connection:
                return connection.execute(query, parameters).fetchone()[0] >= rows

        wait_until(started, "the start of Tradewind", START_TIMEOUT_SECONDS)
        wait_until(there, what, PARSE_TIMEOUT_SECONDS)

    def limit_parallelism(self, tasks: int) -> None:
        self.options |= {"AIRFLOW__CORE__PARALLELISM": str(tasks)}
        self._end(self.processes)
        self.processes.clear()
        self.start()
        self.wait_healthy("scheduler")
