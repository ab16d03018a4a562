"""Connections, variables, pools, configuration, providers, plugins, jobs, events of the log, and the server itself."""

from case import Case, Reading

VARIABLE_KEYS = tuple({"variable_key": key} for key in ("region", "api_secret", "settings"))
READINGS = (
    Reading("/api/v2/connections"),
    Reading("/api/v2/connections/{connection_id}", ({"connection_id": "web"}, {"connection_id": "files"})),
    Reading("/api/v2/connections/enqueue-test"),
    Reading("/api/v2/variables"),
    Reading("/api/v2/variables/{variable_key}", VARIABLE_KEYS),
    Reading("/api/v2/pools"),
    Reading("/api/v2/pools/{pool_name}", ({"pool_name": "shop"}, {"pool_name": "default_pool"})),
    Reading("/api/v2/config", values=(("section", ("core", "api")),)),
    Reading(
        "/api/v2/config/section/{section}/option/{option}",
        tuple(
            {"section": section, "option": option}
            for section, option in (("core", "parallelism"), ("core", "fernet_key"), ("api", "port_of_nothing"))
        ),
    ),
    Reading("/api/v2/providers"),
    Reading("/api/v2/plugins"),
    Reading("/api/v2/plugins/importErrors"),
    Reading("/api/v2/jobs", values=(("job_type", ("SchedulerJob",)), ("job_state", ("running",)))),
    Reading(
        "/api/v2/eventLogs",
        values=(
            ("dag_id", ("pipeline",)),
            ("task_id", ("values",)),
            ("run_id", ("one",)),
            ("owner", ("admin", "sales")),
            ("event", ("success", "trigger_dag_run")),
            ("excluded_events", ("success", ["success", "running"])),
            ("included_events", ("success", ["success", "running"])),
        ),
    ),
    Reading("/api/v2/eventLogs/{event_log_id}", tuple({"event_log_id": number} for number in (1, 2, 9))),
    Reading("/api/v2/monitor/health"),
    Reading("/api/v2/version"),
    Reading("/api/v2/auth/login"),
    Reading("/api/v2/auth/logout"),
)


def bulk(entity: dict, other: dict, key: str) -> tuple:
    """Every action of a bulk request with every rule for what is there and what is not. `entity` exists."""
    both = [entity, other]
    ids = [entity[key], other[key]]
    return (
        *({"actions": [{"action": "create", "entities": both, "action_on_existence": rule}]}
          for rule in ("fail", "skip", "overwrite", "wrong")),
        *({"actions": [{"action": "update", "entities": both, "action_on_non_existence": rule}]}
          for rule in ("fail", "skip")),
        *({"actions": [{"action": "delete", "entities": ids, "action_on_non_existence": rule}]}
          for rule in ("fail", "skip")),
        {"actions": [{"action": "create", "entities": [other]}, {"action": "delete", "entities": [entity[key]]}]},
        {"actions": [{"action": "nothing", "entities": []}]},
        {"actions": []},
        {},
    )  # fmt: skip


ROLES = ("op", "user", "viewer", "nobody")
WEB = {"connection_id": "web", "conn_type": "http", "host": "example.org"}
NEW_CONNECTION = WEB | {"connection_id": "new", "password": "secret", "extra": '{"token": "t"}'}
REGION = {"key": "region", "value": "us"}
NEW_VARIABLE = {"key": "new", "value": {"password": "p", "a": 1}, "description": "d"}
SHOP = {"name": "shop", "slots": 2, "include_deferred": True}
NEW_POOL = {"name": "new", "slots": 3, "description": "d"}
CONNECTIONS, VARIABLES, POOLS = ("/api/v2/connections", "/api/v2/variables", "/api/v2/pools")
CHANGES = (
    Case("POST", CONNECTIONS, body=NEW_CONNECTION),
    Case("POST", CONNECTIONS, body=WEB),
    Case("POST", CONNECTIONS, body={"connection_id": "a b", "conn_type": "http"}),
    Case("POST", CONNECTIONS, body={"connection_id": "new"}),
    Case("POST", CONNECTIONS, body=NEW_CONNECTION | {"extra": "no json"}),
    Case("POST", CONNECTIONS, body=NEW_CONNECTION | {"port": "x", "surplus": 1}),
    *(Case("POST", CONNECTIONS, body=NEW_CONNECTION, user=user) for user in ROLES),
    Case("PATCH", f"{CONNECTIONS}/web", body=WEB),
    Case("PATCH", f"{CONNECTIONS}/web", "update_mask=host", WEB | {"login": "other"}),
    Case("PATCH", f"{CONNECTIONS}/web", "update_mask=nothing", WEB),
    Case("PATCH", f"{CONNECTIONS}/web", body=WEB | {"connection_id": "other"}),
    Case("PATCH", f"{CONNECTIONS}/web", body=WEB | {"password": "***", "extra": '{"token": "***"}'}),
    Case("PATCH", f"{CONNECTIONS}/unknown", body=WEB | {"connection_id": "unknown"}),
    Case("DELETE", f"{CONNECTIONS}/web"),
    Case("DELETE", f"{CONNECTIONS}/unknown"),
    Case("DELETE", f"{CONNECTIONS}/web", user="viewer"),
    *(Case("PATCH", CONNECTIONS, body=body) for body in bulk(WEB, NEW_CONNECTION, "connection_id")),
    Case("POST", f"{CONNECTIONS}/test", body=WEB),
    Case("POST", f"{CONNECTIONS}/enqueue-test", body=WEB),
    Case("POST", f"{CONNECTIONS}/defaults"),
    Case("POST", f"{CONNECTIONS}/defaults", user="viewer"),
    Case("POST", VARIABLES, body=NEW_VARIABLE),
    Case("POST", VARIABLES, body={"key": "new_secret", "value": "hidden"}),
    Case("POST", VARIABLES, body=REGION),
    Case("POST", VARIABLES, body={"key": "new"}),
    Case("POST", VARIABLES, body={"key": "x" * 251, "value": "v"}),
    *(Case("POST", VARIABLES, body=NEW_VARIABLE, user=user) for user in ROLES),
    Case("PATCH", f"{VARIABLES}/region", body=REGION),
    Case("PATCH", f"{VARIABLES}/region", "update_mask=description", REGION | {"description": "d"}),
    Case("PATCH", f"{VARIABLES}/region", "update_mask=nothing", REGION),
    Case("PATCH", f"{VARIABLES}/region", body=REGION | {"key": "other"}),
    Case("PATCH", f"{VARIABLES}/unknown", body=REGION | {"key": "unknown"}),
    Case("DELETE", f"{VARIABLES}/region"),
    Case("DELETE", f"{VARIABLES}/unknown"),
    Case("DELETE", f"{VARIABLES}/region", user="user"),
    *(Case("PATCH", VARIABLES, body=body) for body in bulk(REGION, NEW_VARIABLE, "key")),
    Case("POST", POOLS, body=NEW_POOL),
    Case("POST", POOLS, body=SHOP),
    Case("POST", POOLS, body=NEW_POOL | {"slots": -2}),
    Case("POST", POOLS, body={"name": "new"}),
    *(Case("POST", POOLS, body=NEW_POOL, user=user) for user in ROLES),
    Case("PATCH", f"{POOLS}/shop", body=SHOP),
    Case("PATCH", f"{POOLS}/shop", "update_mask=slots", {"slots": 4, "description": "x"}),
    Case("PATCH", f"{POOLS}/shop", body={"slots": 4}),
    Case("PATCH", f"{POOLS}/default_pool", body={"name": "default_pool", "slots": 4, "include_deferred": True}),
    Case("PATCH", f"{POOLS}/default_pool", "update_mask=slots", {"slots": 4}),
    Case("PATCH", f"{POOLS}/unknown", body=SHOP | {"name": "unknown"}),
    Case("DELETE", f"{POOLS}/shop"),
    Case("DELETE", f"{POOLS}/default_pool"),
    Case("DELETE", f"{POOLS}/unknown"),
    *(Case("PATCH", POOLS, body=body) for body in bulk(SHOP, NEW_POOL, "name")),
)
