"""Backfills."""

from case import Case, Reading

READINGS = (
    Reading("/api/v2/backfills", always=(("dag_id", "daily"),), values=(("dag_id", ("pipeline", "daily")),)),
    Reading("/api/v2/backfills/{backfill_id}", ({"backfill_id": 1},)),
    Reading("/ui/backfills", values=(("dag_id", ("daily",)),)),
)
BACKFILLS = "/api/v2/backfills"
NEW = {"dag_id": "daily", "from_date": "2026-01-10T00:00:00Z", "to_date": "2026-01-12T00:00:00Z"}
CHANGES = (
    *(Case("PUT", f"{BACKFILLS}/1/{verb}") for verb in ("pause", "unpause", "cancel")),
    *(Case("PUT", f"{BACKFILLS}/9/{verb}") for verb in ("pause", "unpause", "cancel")),
    *(Case("PUT", f"{BACKFILLS}/1/{verb}", user="viewer") for verb in ("pause", "unpause", "cancel")),
    Case("POST", BACKFILLS, body=NEW),
    *(
        case
        for body in (
            NEW,
            NEW | {"run_backwards": True},
            NEW | {"reprocess_behavior": "completed"},
            NEW | {"to_date": "2026-01-01T00:00:00Z"},
            NEW | {"to_date": "no date"},
            NEW | {"dag_id": "pipeline"},
            NEW | {"dag_id": "unknown"},
            NEW | {"from_date": "2027-01-01T00:00:00Z", "to_date": "2027-01-02T00:00:00Z"},
            {},
        )
        for case in (Case("POST", f"{BACKFILLS}/dry_run", body=body),)
    ),
)
