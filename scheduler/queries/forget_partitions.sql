-- Partitions that were queued under mappers which the Dag no longer has.
WITH log AS (
    DELETE FROM partitioned_asset_key_log WHERE asset_partition_dag_run_id = ANY ($1)
)
DELETE FROM asset_partition_dag_run WHERE id = ANY ($1)
