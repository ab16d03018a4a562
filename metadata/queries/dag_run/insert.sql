-- New Dag runs of the latest versions of their Dags, pinned to the bundle versions that the Dags were last parsed from.
INSERT INTO dag_run (
    dag_id, run_id, run_type, state, logical_date, data_interval_start, data_interval_end, run_after, conf, triggered_by,
    triggering_user_name, queued_at, created_at, updated_at, creating_job_id, backfill_id, partition_key, partition_date,
    clear_number, log_template_id, created_dag_version_id, bundle_version, context_carrier
)
SELECT
    new.dag_id, new.run_id, new.run_type, new.state, new.logical_date, new.data_interval_start, new.data_interval_end,
    new.run_after, new.conf, new.triggered_by, new.triggering_user_name, CASE WHEN new.state = 'queued' THEN $18 END, $18, $18,
    new.creating_job_id, new.backfill_id, new.partition_key, new.partition_date, 0, (SELECT max(id) FROM log_template),
    version.id, CASE WHEN new.is_versioned THEN (SELECT bundle_version FROM dag WHERE dag.dag_id = new.dag_id) END,
    new.context_carrier
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::jsonb[], $10::text[], $11::text[], $12::int[], $13::int[], $14::text[], $15::timestamptz[],
    $16::bool[], $17::jsonb[]
) WITH ORDINALITY AS new (
    dag_id, run_id, run_type, state, logical_date, data_interval_start, data_interval_end, run_after, conf, triggered_by,
    triggering_user_name, creating_job_id, backfill_id, partition_key, partition_date, is_versioned, context_carrier, number
)
CROSS JOIN LATERAL (
    SELECT id FROM dag_version WHERE dag_version.dag_id = new.dag_id ORDER BY version_number DESC LIMIT 1
) AS version
ORDER BY new.number
ON CONFLICT DO NOTHING
RETURNING id, dag_id, run_id, created_dag_version_id
