-- The ended task instances, $3 each, of those runs.
INSERT INTO task_instance (
    id, task_id, dag_id, run_id, map_index, start_date, end_date, duration, state, try_number, max_tries, hostname, unixname,
    pool, pool_slots, queue, priority_weight, operator, queued_dttm, scheduled_dttm, executor_config, updated_at,
    task_display_name, dag_version_id, span_status
)
SELECT
    gen_random_uuid(), 'task_' || number, run.dag_id, run.run_id, -1, run.start_date, run.end_date, 60, 'success', 1, 0,
    'worker', 'airflow', 'default_pool', 1, 'default', 1, 'PythonOperator', run.start_date, run.start_date,
    '\x80057d942e'::bytea, run.end_date, 'task_' || number, run.created_dag_version_id, 'not_started'
FROM dag_run run
CROSS JOIN generate_series(0, $3 - 1) AS number
WHERE (run.dag_id = $1) = $2
