-- What a starting attempt is told about its Dag run and itself ($1: its id, $2: whether it resumes from a deferral).
SELECT
    jsonb_build_object(
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
        'partition_key', dr.partition_key,
        'partition_date', dr.partition_date,
        'note', NULL,
        'team_name', NULL
    ) AS dag_run,
    CASE WHEN $2 THEN '{}'::text[] ELSE pushed.keys END AS xcom_keys,
    (SELECT count(*) FROM task_reschedule WHERE ti_id = ti.id) AS reschedules
FROM task_instance ti
JOIN dag_run dr ON dr.dag_id = ti.dag_id AND dr.run_id = ti.run_id
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(x.key::text), '{}') AS keys
    FROM xcom x
    WHERE x.dag_id = ti.dag_id AND x.run_id = ti.run_id AND x.task_id = ti.task_id
        AND (ti.map_index < 0 OR x.map_index = ti.map_index)
) pushed
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
                    SELECT jsonb_agg(jsonb_build_object('name', alias.name))
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
WHERE ti.id = $1
