-- What the waiting partitions ($1) have received: per asset the partitions of its events. An asset that is not active
-- counts for nothing until it is again.
SELECT
    log.asset_partition_dag_run_id AS id, asset.name, asset.uri, array_agg(DISTINCT log.source_partition_key) AS keys
FROM partitioned_asset_key_log AS log
JOIN asset ON asset.id = log.asset_id
JOIN asset_active AS active ON active.name = asset.name AND active.uri = asset.uri
WHERE log.asset_partition_dag_run_id = ANY ($1)
GROUP BY log.asset_partition_dag_run_id, asset.id
