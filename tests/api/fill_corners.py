"""Fills the database of the corners: files that are broken, Dags that are warned of, and what few Dags have."""

from __future__ import annotations

import time

from fill import Filler
from official import wait_until

PARSE_SECONDS = 90
DELIVERIES = (("flour", "north"), ("yeast", "north"), ("flour", "south"), ("flour", "west"), ("flour", "far"))
PAUSED = ("standing", "chained", "no_backfills", "in_two_files")
#: Files that cannot be imported from the beginning.
BROKEN = 7
TEST_TOKEN = "token-of-a-connection-test"


class CornerFiller(Filler):
    def fill(self) -> None:
        call = self.call
        wait_until(self._parsed, "the parsing of all Dags", PARSE_SECONDS)
        call("POST", "/api/v2/pools", {"name": "closed", "slots": 0, "description": "nobody gets in"})
        call("PATCH", "/api/v2/dags?dag_id_pattern=~", {"is_paused": False})
        for dag_id in PAUSED:
            call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})
        for dag_id in ("breaks", "mill"):
            self.run(dag_id, "first")
        file = self.dags / "front" / "breaks.py"
        file.write_text(file.read_text().replace("# raise", "raise"))
        self.run("waiting", "one", ends=False)
        self.run("grouped", "one", ends=False)
        self.run("asked", "one", ends=False)
        self.run("asked", "two", ends=False)
        for run_id in ("one", "two"):
            self.run("late", run_id, note=f"the {run_id}")
        self.partitions()
        self.backfills()
        self.answers()
        self.clears()
        self.connection_tests()
        self.optional("POST", "/api/v2/dags/ledger/favorite")
        self.wait_state("waiting", "one", {"deferred": "deferred", "rescheduled": "up_for_reschedule"})
        broken = lambda: call("GET", "/api/v2/importErrors")["total_entries"] > BROKEN  # noqa: E731
        wait_until(broken, "the import error of breaks.py", PARSE_SECONDS)
        time.sleep(4)  # what follows: warnings of the scheduler, ends of backfills, deadlines

    def _parsed(self) -> bool:
        known = {dag["dag_id"] for dag in self.call("GET", "/api/v2/dags?limit=100")["dags"]}
        errors = self.call("GET", "/api/v2/importErrors")["total_entries"]
        return errors >= BROKEN and {"asked", "breaks_too", "in_two_files", "varies"} <= known

    def _asset(self, name: str) -> int:
        assets = self.call("GET", f"/api/v2/assets?name_pattern={name}")["assets"]
        return next(asset["id"] for asset in assets if asset["name"] == name)

    def partitions(self) -> None:
        """Of bread one is complete; of it and of the harvest others wait. A calendar gives some by itself."""
        for name, key in DELIVERIES:
            event = {"asset_id": self._asset(name), "partition_key": key, "extra": {"key": key}}
            self.optional("POST", "/api/v2/assets/events", event)
        runs = lambda: self.call("GET", "/api/v2/dags/bread/dagRuns")["total_entries"]  # noqa: E731
        wait_until(runs, "a run of bread", PARSE_SECONDS)
        self.optional("POST", f"/api/v2/assets/{self._asset('flour')}/materialize")

    def backfills(self) -> None:
        """Of the ledger one that has ended, beside runs that others made; of another Dag one that stands still."""
        self.run("ledger", "tenth", logical_date="2026-01-10T00:00:00Z")
        self.run("ledger", "eleventh", logical_date="2026-01-11T00:00:00Z", conf={"fails": True})
        span = {"from_date": "2026-01-03T00:00:00Z", "to_date": "2026-01-05T00:00:00Z", "max_active_runs": 1}
        made = self.call("POST", "/api/v2/backfills", {"dag_id": "ledger", **span})
        path = f"/api/v2/backfills/{made['id']}"
        wait_until(lambda: self.call("GET", path)["completed_at"], "the end of the backfill", PARSE_SECONDS)
        self.optional("POST", "/api/v2/backfills", {"dag_id": "standing", "dag_run_conf": {"a": 1}, **span})

    def answers(self) -> None:
        waiting = dict.fromkeys(("chosen_ones", "several", "form", "way"), "awaiting_input")
        for run_id in ("one", "two"):
            self.wait_state("asked", run_id, waiting)
        tasks = "/api/v2/dags/asked/dagRuns/two/taskInstances"
        form = {"chosen_options": ["OK"], "params_input": {"count": 5, "name": "said"}}
        self.optional("PATCH", f"{tasks}/form/-1/hitlDetails", form)
        self.optional("PATCH", f"{tasks}/several/-1/hitlDetails", {"chosen_options": ["one", "two"], "params_input": {}})
        self.optional("PATCH", f"{tasks}/way/-1/hitlDetails", {"chosen_options": ["left"], "params_input": {}})
        self.wait_state("asked", "two", {"form": "success", "several": "success", "way": "success", "right": "skipped"})
        again = {"dag_run_id": "two", "task_ids": ["form"], "dry_run": False, "only_failed": False}
        self.optional("POST", "/api/v2/dags/asked/clearTaskInstances", again)
        self.wait_state("asked", "two", {"form": "awaiting_input"})

    def clears(self) -> None:
        self.wait_run("grouped", "one")
        clear = {"dag_run_id": "one", "task_ids": [["each.odd", 2]], "dry_run": False, "note": "once more"}
        self.optional("POST", "/api/v2/dags/grouped/clearTaskInstances", clear)
        self.wait_run("grouped", "one")

    def connection_tests(self) -> None:
        files = {"connection_id": "files", "conn_type": "fs", "extra": '{"path": "/"}'}
        self.call("POST", "/api/v2/connections", files)
        self.optional("POST", "/api/v2/connections/enqueue-test", files)
        with self.official.postgres.connect() as connection:  # tokens are drawn, and the cases have to know one
            connection.execute("update connection_test_request set token = %s", (TEST_TOKEN,))
