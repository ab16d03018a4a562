-- Dags with asset events in the queue that may get a run ($1: only these; null: any), with the assets and the condition.
SELECT
    dag.dag_id, dag.asset_expression, array_agg(asset.name ORDER BY asset.id) AS names,
    array_agg(asset.uri ORDER BY asset.id) AS uris
FROM asset_dag_run_queue AS queue
JOIN asset ON asset.id = queue.asset_id
JOIN dag ON dag.dag_id = queue.target_dag_id
WHERE ($1::text[] IS NULL OR queue.target_dag_id = ANY ($1))
  AND NOT dag.is_paused
  AND NOT dag.is_stale
  AND NOT coalesce(dag.has_import_errors, false)
  AND NOT dag.exceeds_max_non_backfill
GROUP BY dag.dag_id
ORDER BY dag.dag_id
