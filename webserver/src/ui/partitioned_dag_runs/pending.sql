-- The partition ($2) of a Dag ($1) that waits. A crash may have left several: the last one is worked on.
SELECT
    p.id, p.target_dag_id, p.partition_key, p.created_at, p.updated_at, FALSE AS has_run,
    NULL::text AS run_id, NULL::text AS run_state
FROM asset_partition_dag_run p
WHERE p.target_dag_id = $1 AND p.partition_key = $2 AND p.created_dag_run_id IS NULL
ORDER BY p.id DESC
LIMIT 1
