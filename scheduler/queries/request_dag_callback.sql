-- Asks the Dag processor to call what the Dag file has for the end of a run ($1: the run, $2: the task instance it is
-- about, $3: whether it is a failure, $4: the reason), in the form of Airflow's `DagCallbackRequest`.
INSERT INTO callback (id, type, fetch_method, data, bundle_name, state, priority_weight, created_at)
SELECT
    $5, 'dag_processor', 'dag_attribute',
    jsonb_build_object(
        '__type', 'dict',
        '__var', jsonb_build_object('req_class', 'DagCallbackRequest', 'req_data', request.body::text)
    ),
    dag.bundle_name, NULL, 1, $6
FROM dag_run dr
JOIN dag ON dag.dag_id = dr.dag_id
LEFT JOIN task_instance ti ON ti.id = $2
CROSS JOIN LATERAL (
    SELECT jsonb_build_object(
        'type', 'DagCallbackRequest',
        'filepath', dag.relative_fileloc,
        'bundle_name', dag.bundle_name,
        'bundle_version', dr.bundle_version,
        'msg', $4,
        'dag_id', dr.dag_id,
        'run_id', dr.run_id,
        'is_failure_callback', $3,
        'context_from_server', jsonb_build_object(
            'dag_run', jsonb_build_object(
                'dag_id', dr.dag_id,
                'run_id', dr.run_id,
                'logical_date', dr.logical_date,
                'data_interval_start', dr.data_interval_start,
                'data_interval_end', dr.data_interval_end,
                'run_after', dr.run_after,
                'start_date', dr.start_date,
                'end_date', dr.end_date,
                'clear_number', dr.clear_number,
                'run_type', dr.run_type,
                'state', dr.state,
                'conf', dr.conf,
                'triggering_user_name', dr.triggering_user_name,
                'consumed_asset_events', '[]'::jsonb,
                'partition_key', dr.partition_key
            ),
            'last_ti', CASE WHEN ti.dag_version_id IS NOT NULL THEN jsonb_build_object(
                'id', ti.id,
                'task_id', ti.task_id,
                'dag_id', ti.dag_id,
                'run_id', ti.run_id,
                'try_number', ti.try_number,
                'map_index', ti.map_index,
                'hostname', ti.hostname,
                'dag_version_id', ti.dag_version_id,
                'context_carrier', ti.context_carrier -> '__var'
            ) END
        )
    ) AS body
) request
WHERE dr.id = $1
