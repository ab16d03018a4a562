"""Fills the database of the shop: a bit of everything."""

from __future__ import annotations

import time

from fill import Filler
from official import wait_until


class ShopFiller(Filler):
    def fill(self) -> None:
        call = self.call
        wait_until(lambda: call("GET", "/api/v2/dags?limit=50")["total_entries"] >= 10, "the parsing of all Dags", 90)
        call("POST", "/api/v2/pools", {"name": "shop", "slots": 8, "description": "of the shop"})
        self.variables_and_connections()
        call("PATCH", "/api/v2/dags?dag_id_pattern=~", {"is_paused": False})
        call("PATCH", "/api/v2/dags/daily", {"is_paused": True})
        self.run("versioned", "first")
        file = self.dags / "versioned.py"
        file.write_text(file.read_text().replace("# first", "first"))
        self.run("pipeline", "one", conf={"day": "2026-01-02"}, note="the first run")
        self.run("pipeline", "two", ends=False, logical_date="2026-01-05T00:00:00Z")
        self.run("outcomes", "one", ends=False)
        self.run("produce", "one", ends=False)
        self.run("approval", "one", ends=False)
        self.run("approval", "two", ends=False)
        waiting = {"choose": "awaiting_input", "approve": "awaiting_input"}
        for run_id in ("one", "two"):
            self.wait_state("approval", run_id, waiting)
        details = "/api/v2/dags/approval/dagRuns/one/taskInstances/choose/-1/hitlDetails"
        call("PATCH", details, {"chosen_options": ["two"], "params_input": {"note": "said"}})
        self.wait_state("approval", "one", {"choose": "failed", "approve": "awaiting_input"})
        self.wait_state("outcomes", "one", {"again": "up_for_retry", "after_failure": "upstream_failed"})
        self.wait_run("pipeline", "two")
        self.wait_run("produce", "one")
        time.sleep(1)
        self.run("versioned", "second")
        self.after_runs()

    def variables_and_connections(self) -> None:
        call = self.call
        for key, value in (("region", "eu"), ("api_secret", "hidden"), ("settings", '{"password": "p", "size": 1}')):
            call("POST", "/api/v2/variables", {"key": key, "value": value, "description": f"the {key}"})
        http = {"connection_id": "web", "conn_type": "http", "host": "example.com", "port": 443, "login": "me",
                "password": "pw", "extra": '{"token": "t", "timeout": 3}', "description": "a site"}  # fmt: skip
        call("POST", "/api/v2/connections", http)
        call("POST", "/api/v2/connections", {"connection_id": "files", "conn_type": "fs"})

    def after_runs(self) -> None:
        self.optional("PATCH", "/api/v2/dags/pipeline/dagRuns/two/taskInstances/values", {"note": "looked at"})
        self.optional("POST", "/api/v2/dags/outcomes/favorite")
        assets = self.call("GET", "/api/v2/assets")["assets"]
        stock = next(asset["id"] for asset in assets if asset["name"] == "stock")
        self.optional("POST", "/api/v2/assets/events", {"asset_id": stock, "extra": {"by": "hand"}})
        backfill = {"dag_id": "daily", "from_date": "2026-01-03T00:00:00Z", "to_date": "2026-01-04T00:00:00Z"}
        self.optional("POST", "/api/v2/backfills", backfill | {"max_active_runs": 2})
        values = "/api/v2/dags/pipeline/dagRuns/one/taskInstances/values"
        clear = {"dag_run_id": "two", "task_ids": ["sums.show"], "dry_run": False, "only_failed": False}
        self.optional("POST", "/api/v2/dags/pipeline/clearTaskInstances", clear)
        self.wait_run("pipeline", "two")
        state = "/api/v2/dags/pipeline/dagRuns/one/taskInstances/values/state-store/cursor"
        self.optional("PUT", state, {"value": "12"})
        self.optional("PUT", f"/api/v2/assets/{stock}/state-store/mark", {"value": "7"})
        self.optional("GET", values)
        self.wait_run("triggered", "from_pipeline")
        time.sleep(3)  # what follows the last end: asset runs, next schedules
