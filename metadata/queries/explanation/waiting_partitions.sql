-- Partitions of a Dag ($1) that wait for asset events, the oldest first, $2 of them at most: with each asset of which events
-- have come, and the partitions of these. An asset that is not active counts for nothing until it is again.
WITH waiting AS (
    SELECT id, partition_key, created_at, count(*) OVER () AS count
    FROM asset_partition_dag_run
    WHERE target_dag_id = $1 AND created_dag_run_id IS NULL
    ORDER BY created_at, id
    LIMIT $2
),
received AS (
    SELECT
        log.asset_partition_dag_run_id AS id, asset.name, asset.uri,
        array_agg(DISTINCT log.source_partition_key) AS keys
    FROM partitioned_asset_key_log AS log
    JOIN asset ON asset.id = log.asset_id
    JOIN asset_active AS active ON active.name = asset.name AND active.uri = asset.uri
    WHERE log.asset_partition_dag_run_id IN (SELECT id FROM waiting)
    GROUP BY log.asset_partition_dag_run_id, asset.id
)
SELECT waiting.id, waiting.partition_key, waiting.count, received.name, received.uri, received.keys
FROM waiting
LEFT JOIN received ON received.id = waiting.id
ORDER BY waiting.created_at, waiting.id, received.name
