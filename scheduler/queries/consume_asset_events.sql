-- Gives a run ($1) of a Dag ($2) the events that it stands for: those of the assets and aliases on which the Dag is
-- scheduled, up to $3 and since the run before. A first run that does not catch up ($4) starts with the time at which the
-- Dag was scheduled on its assets.
WITH since AS (
    SELECT coalesce(
        (
            SELECT max(run_after)
            FROM dag_run
            WHERE dag_id = $2 AND run_type = 'asset_triggered' AND run_after < $3
        ),
        CASE
            WHEN NOT $4 THEN (SELECT min(created_at) FROM dag_schedule_asset_reference WHERE dag_id = $2)
        END,
        '-infinity'::timestamptz
    ) AS after
),
consumed AS (
    SELECT event.id
    FROM dag_schedule_asset_reference AS reference
    CROSS JOIN since
    JOIN asset_event AS event ON event.asset_id = reference.asset_id
    WHERE reference.dag_id = $2 AND event.timestamp <= $3 AND event.timestamp > since.after
    UNION
    SELECT event.id
    FROM dag_schedule_asset_alias_reference AS reference
    CROSS JOIN since
    JOIN asset_alias_asset_event AS link ON link.alias_id = reference.alias_id
    JOIN asset_event AS event ON event.id = link.event_id
    WHERE reference.dag_id = $2 AND event.timestamp <= $3 AND event.timestamp > since.after
)
INSERT INTO dagrun_asset_event (dag_run_id, event_id)
SELECT $1, id FROM consumed
