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
    SELECT jsonb_agg(
        jsonb_build_object(
            'asset', jsonb_build_object('name', asset.name, 'uri', asset.uri, 'extra', asset.extra),
            'extra', event.extra,
            'source_task_id', event.source_task_id,
            'source_dag_id', event.source_dag_id,
            'source_run_id', event.source_run_id,
            'source_map_index', event.source_map_index,
            'source_aliases', coalesce(
                (
                    SELECT jsonb_agg(jsonb_build_object('name', alias.name) ORDER BY alias.name)
                    FROM asset_alias_asset_event link
                    JOIN asset_alias alias ON alias.id = link.alias_id
                    WHERE link.event_id = event.id
                ),
                '[]'::jsonb
            ),
            'timestamp', event.timestamp,
            'partition_key', event.partition_key
        )
        ORDER BY event.id
    ) AS events
    FROM dagrun_asset_event consumed
    JOIN asset_event event ON event.id = consumed.event_id
    JOIN asset ON asset.id = event.asset_id
    WHERE consumed.dag_run_id = dr.id
) consumed
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
                'consumed_asset_events', coalesce(consumed.events, '[]'::jsonb),
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
