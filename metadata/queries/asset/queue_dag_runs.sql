-- Queues the Dags that wait for an asset ($1): by the asset, by an alias the event came through ($2), or by a
-- reference to name or URI. Dags with a partitioned timetable are not queued this way.
INSERT INTO asset_dag_run_queue (asset_id, target_dag_id, created_at)
SELECT $1, waiting.dag_id, clock_timestamp()
FROM (
    SELECT dag_id FROM dag_schedule_asset_reference WHERE asset_id = $1
    UNION
    SELECT reference.dag_id
    FROM dag_schedule_asset_alias_reference reference
    JOIN asset_alias alias ON alias.id = reference.alias_id
    WHERE alias.name = ANY($2::text[])
    UNION
    SELECT reference.dag_id
    FROM dag_schedule_asset_name_reference reference
    JOIN asset ON asset.name = reference.name
    WHERE asset.id = $1
    UNION
    SELECT reference.dag_id
    FROM dag_schedule_asset_uri_reference reference
    JOIN asset ON asset.uri = reference.uri
    WHERE asset.id = $1
) waiting
JOIN dag USING (dag_id)
WHERE NOT dag.is_paused AND NOT dag.timetable_partitioned
ON CONFLICT (asset_id, target_dag_id) DO NOTHING
RETURNING target_dag_id
