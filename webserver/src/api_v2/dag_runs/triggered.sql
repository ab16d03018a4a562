-- Dags that somebody wants to run, with their latest versions.
SELECT dag.dag_id, dag.has_import_errors, dag.allowed_run_types, latest.id AS latest_id, latest.dag_hash AS latest_hash
FROM dag
LEFT JOIN LATERAL (
    SELECT id, dag_hash FROM serialized_dag WHERE serialized_dag.dag_id = dag.dag_id ORDER BY created_at DESC LIMIT 1
) AS latest ON true
WHERE dag.dag_id = ANY($1) AND NOT dag.is_stale
