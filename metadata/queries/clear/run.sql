-- The run whose task instances are cleared, locked; but not against those who only make sure that it exists, as a second
-- change of a task instance in one transaction does.
SELECT
    id, run_id, run_type, state, logical_date, created_dag_version_id, nullif(bundle_version, '') AS bundle_version,
    context_carrier::jsonb AS context_carrier
FROM dag_run
WHERE dag_id = $1 AND run_id = $2
FOR NO KEY UPDATE
