-- Ended runs of every ordinary Dag, or of the wide one ($1) when $2 says so, an hour apart.
INSERT INTO dag_run (
    dag_id, run_id, run_type, state, queued_at, logical_date, start_date, end_date, run_after, conf, data_interval_start,
    data_interval_end, triggered_by, created_at, updated_at, log_template_id, created_dag_version_id, span_status,
    last_scheduling_decision
)
SELECT
    version.dag_id, 'run_' || number, 'manual', 'success', date, date, date, date + interval '1 minute', date, '{}', date,
    date, 'REST_API', date, date, (SELECT max(id) FROM log_template), version.id, 'not_started', date
FROM dag_version version
CROSS JOIN generate_series(0, $3 - 1) AS number
CROSS JOIN LATERAL (SELECT timestamptz '2026-01-01 00:00:00Z' + number * interval '1 hour' AS date) AS dates
WHERE (version.dag_id = $1) = $2
