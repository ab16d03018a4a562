-- Partitions that wait for events ($1: only of these Dags; null: of any), the oldest first from a point on ($2, $3);
-- held, unless another scheduler holds them or an event is being added.
SELECT
    partition.id, partition.target_dag_id, partition.partition_key, partition.partition_date,
    partition.rollup_fingerprint, partition.created_at
FROM asset_partition_dag_run AS partition
JOIN dag ON dag.dag_id = partition.target_dag_id
WHERE partition.created_dag_run_id IS NULL
  AND NOT dag.is_stale
  AND ($1::text[] IS NULL OR partition.target_dag_id = ANY ($1))
  AND (partition.created_at, partition.id) > ($2, $3)
ORDER BY partition.created_at, partition.id
LIMIT $4
FOR UPDATE OF partition SKIP LOCKED
