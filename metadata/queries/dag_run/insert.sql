-- A new Dag run of the Dag's latest version, pinned to the bundle version that the Dag was last parsed from.
INSERT INTO dag_run (
    dag_id, run_id, run_type, state, logical_date, data_interval_start, data_interval_end, run_after, conf, triggered_by,
    triggering_user_name, queued_at, start_date, created_at, updated_at, creating_job_id, backfill_id, partition_key,
    partition_date, clear_number, log_template_id, created_dag_version_id, bundle_version, context_carrier
)
SELECT
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
    $11, CASE WHEN $4 = 'queued' THEN $12 END, $13, $12, $12, $14, $15, $16,
    $17, 0, (SELECT max(id) FROM log_template), version.id, $18, $19
FROM (SELECT id FROM dag_version WHERE dag_id = $1 ORDER BY version_number DESC LIMIT 1) AS version
ON CONFLICT DO NOTHING
RETURNING id, created_dag_version_id
