-- The Dags that listen to an asset ($1), to an alias the event came through ($2), or to a reference to its name or URI,
-- and are not paused. Those that do not ask for partitions are queued, unless the event is one of a partition ($3);
-- those that do are named.
WITH listening AS (
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
),
queued AS (
    INSERT INTO asset_dag_run_queue (asset_id, target_dag_id, created_at)
    SELECT $1, dag_id, clock_timestamp()
    FROM listening
    JOIN dag USING (dag_id)
    WHERE NOT dag.is_paused AND NOT dag.timetable_partitioned AND $3::text IS NULL
    ORDER BY dag_id
    ON CONFLICT (asset_id, target_dag_id) DO NOTHING
    RETURNING target_dag_id
)
SELECT target_dag_id AS dag_id, false AS is_partitioned
FROM queued
UNION ALL
SELECT dag_id, true
FROM listening
JOIN dag USING (dag_id)
WHERE NOT dag.is_paused AND dag.timetable_partitioned
ORDER BY dag_id
