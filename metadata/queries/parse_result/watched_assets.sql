-- $1 assets.
SELECT
    asset.id,
    EXISTS (SELECT FROM asset_active AS active WHERE active.name = asset.name AND active.uri = asset.uri)
    AND EXISTS (
        SELECT
        FROM dag_schedule_asset_reference AS reference
        JOIN dag ON dag.dag_id = reference.dag_id
        WHERE reference.asset_id = asset.id AND NOT dag.is_stale AND NOT dag.is_paused
    ) AS is_watched
FROM asset
WHERE asset.id = ANY($1)
ORDER BY asset.id
