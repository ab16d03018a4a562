-- A run, with what the step must know of its Dag; which run, the caller adds.
SELECT
    dag_run.id, dag_run.dag_id, dag_run.run_id, dag_run.run_type, dag_run.state, dag_run.logical_date,
    dag_run.start_date, dag_run.run_after, dag_run.bundle_version, dag_run.created_dag_version_id,
    dag_run.clear_number, dag_run.triggered_by, dag_run.context_carrier, dag_run.backfill_id,
    dag_run.last_scheduling_decision,
    dag.is_paused, dag.is_stale,
    EXISTS (
        SELECT FROM backfill_dag_run
        WHERE backfill_dag_run.dag_run_id = dag_run.id AND backfill_dag_run.sort_ordinal = 1
    ) AS is_first_of_backfill,
    version.id AS latest_dag_version_id,
    latest.dag_hash AS latest_dag_hash,
    created.dag_hash AS created_dag_hash
FROM dag_run
JOIN dag ON dag.dag_id = dag_run.dag_id
LEFT JOIN LATERAL (
    SELECT id FROM dag_version WHERE dag_version.dag_id = dag_run.dag_id ORDER BY version_number DESC LIMIT 1
) AS version ON true
LEFT JOIN serialized_dag latest ON latest.dag_version_id = version.id
LEFT JOIN serialized_dag created ON created.dag_version_id = dag_run.created_dag_version_id
