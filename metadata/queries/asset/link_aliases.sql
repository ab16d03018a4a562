-- Links aliases ($1), created when missing, with an asset ($2) and an event ($3) that came through them.
WITH created AS (
    INSERT INTO asset_alias (name, "group")
    SELECT name, '' FROM unnest($1::text[]) AS name
    ON CONFLICT (name) DO NOTHING
    RETURNING id
),
alias AS (
    SELECT id FROM created
    UNION
    SELECT id FROM asset_alias WHERE name = ANY($1::text[])
),
of_asset AS (
    INSERT INTO asset_alias_asset (alias_id, asset_id)
    SELECT id, $2 FROM alias
    ON CONFLICT DO NOTHING
)
INSERT INTO asset_alias_asset_event (alias_id, event_id)
SELECT id, $3 FROM alias
ON CONFLICT DO NOTHING
