-- Partitions of a Dag ($1) or of all, with or without a run ($2) or both; the latest first.
SELECT
    p.id, p.target_dag_id, p.partition_key, p.created_at, p.updated_at, p.created_dag_run_id IS NOT NULL AS has_run,
    dr.run_id, dr.state AS run_state
FROM asset_partition_dag_run p
LEFT JOIN dag_run dr ON dr.id = p.created_dag_run_id
WHERE ($1::text IS NULL OR p.target_dag_id = $1)
  AND ($2::bool IS NULL OR (p.created_dag_run_id IS NOT NULL) = $2) /* of: p.target_dag_id */
ORDER BY p.created_at DESC
