-- What a conversation left in the metadata database, as one JSON object of tables. Read by record.py and by the tests. Generated ids and times of the clock are left out.
SELECT jsonb_build_object(
    'task_instance', (
        SELECT jsonb_agg(
            to_jsonb(ti) - ARRAY[
                'id', 'updated_at', 'last_heartbeat_at', 'trigger_id', 'trigger_timeout', 'scheduled_dttm',
                'context_carrier', 'next_kwargs', 'start_date', 'end_date', 'duration', 'executor_config',
                'custom_operator_name'
            ]
            || jsonb_build_object(
                'id', CASE WHEN ti.id::text LIKE '00000000-0000-7000-8000-%' THEN ti.id::text ELSE 'new' END,
                'trigger_id', ti.trigger_id IS NOT NULL,
                'trigger_timeout', round(extract(epoch FROM ti.trigger_timeout - now()) / 600),
                -- SQLAlchemy writes JSON null where nothing is meant.
                'next_kwargs', nullif(ti.next_kwargs, 'null'::jsonb),
                'start_date', CASE WHEN ti.start_date < '2026-02-01' THEN to_jsonb(ti.start_date) WHEN ti.start_date IS NOT NULL THEN '"now"' END,
                'end_date', CASE WHEN ti.end_date < '2026-02-01' THEN to_jsonb(ti.end_date) WHEN ti.end_date IS NOT NULL THEN '"now"' END,
                'duration', CASE WHEN ti.start_date < '2026-02-01' AND ti.end_date < '2026-02-01' THEN round(ti.duration::numeric, 3) END
            )
            ORDER BY dag_id, run_id, task_id, map_index
        )
        FROM task_instance ti
        WHERE ti.run_id IN ('r1', 'r3', 's1')
    ),
    'task_instance_history', (
        SELECT jsonb_agg(
            to_jsonb(history) - ARRAY['updated_at', 'context_carrier']
            || jsonb_build_object(
                'next_kwargs', nullif(next_kwargs, 'null'::jsonb),
                'end_date', CASE WHEN end_date < '2026-02-01' THEN to_jsonb(end_date) WHEN end_date IS NOT NULL THEN '"now"' END,
                'duration', CASE WHEN end_date < '2026-02-01' THEN round(duration::numeric, 3) END
            )
            ORDER BY dag_id, run_id, task_id, map_index, try_number
        )
        FROM task_instance_history history
    ),
    'hitl_detail_history', (SELECT jsonb_agg(to_jsonb(history) ORDER BY subject) FROM hitl_detail_history history),
    'note', (
        SELECT jsonb_agg(jsonb_build_object('task', ti.task_id, 'content', note.content) ORDER BY ti.task_id)
        FROM task_instance_note note JOIN task_instance ti ON ti.id = note.ti_id
    ),
    'task_reschedule', (
        SELECT jsonb_agg(
            to_jsonb(reschedule) - ARRAY['id', 'start_date', 'duration']
            || jsonb_build_object('ti_id', CASE WHEN ti_id::text LIKE '00000000-0000-7000-8000-%' THEN ti_id::text ELSE 'new' END)
            ORDER BY reschedule.id
        )
        FROM task_reschedule reschedule
    ),
    'trigger', (SELECT jsonb_agg(to_jsonb(t) - ARRAY['id', 'created_date'] ORDER BY id) FROM trigger t),
    'log', (
        SELECT jsonb_agg(to_jsonb(entry) - ARRAY['id', 'dttm'] ORDER BY event, dag_id, task_id, map_index) FROM log entry
    ),
    'xcom', (
        SELECT jsonb_agg(to_jsonb(x) - 'timestamp' ORDER BY dag_run_id, task_id, map_index, key) FROM xcom x
    ),
    'task_map', (
        SELECT jsonb_agg(to_jsonb(m) - 'keys' ORDER BY task_id, map_index) FROM task_map m
    ),
    'rendered_fields', (
        SELECT jsonb_agg(to_jsonb(r) ORDER BY run_id, task_id, map_index) FROM rendered_task_instance_fields r
    ),
    'variable', (
        SELECT jsonb_agg(
            jsonb_build_object(
                'key', key, 'description', description, 'is_encrypted', is_encrypted, 'is_fernet', val LIKE 'gAAAA%'
            )
            ORDER BY key
        )
        FROM variable
    ),
    'asset', (
        SELECT jsonb_agg(
            jsonb_build_object('name', name, 'uri', uri, 'group', "group", 'extra', extra, 'aliases', (
                SELECT jsonb_agg(alias.name || ':' || alias."group" ORDER BY alias.name)
                FROM asset_alias_asset link JOIN asset_alias alias ON alias.id = link.alias_id
                WHERE link.asset_id = asset.id
            ))
            ORDER BY name, uri
        )
        FROM asset
    ),
    'asset_event', (
        SELECT jsonb_agg(
            to_jsonb(event) - ARRAY['id', 'asset_id', 'timestamp']
            || jsonb_build_object('asset', asset.name, 'aliases', (
                SELECT jsonb_agg(alias.name ORDER BY alias.name)
                FROM asset_alias_asset_event link JOIN asset_alias alias ON alias.id = link.alias_id
                WHERE link.event_id = event.id
            ))
            ORDER BY asset.name, event.extra::text, event.source_run_id
        )
        FROM asset_event event JOIN asset ON asset.id = event.asset_id
    ),
    'asset_dag_run_queue', (
        SELECT jsonb_agg(jsonb_build_object('asset', asset.name, 'dag', target_dag_id) ORDER BY asset.name, target_dag_id)
        FROM asset_dag_run_queue queue JOIN asset ON asset.id = queue.asset_id
    ),
    'task_state_store', (
        SELECT jsonb_agg(to_jsonb(store) - ARRAY['id', 'updated_at'] ORDER BY task_id, key) FROM task_state_store store
    ),
    'asset_state_store', (
        SELECT jsonb_agg(to_jsonb(store) - ARRAY['updated_at'] ORDER BY asset_id, key) FROM asset_state_store store
    ),
    'hitl_detail', (
        SELECT jsonb_agg(
            to_jsonb(detail) - ARRAY['ti_id', 'created_at', 'responded_at']
            || jsonb_build_object('task', ti.task_id, 'answered', detail.responded_at IS NOT NULL)
            ORDER BY ti.task_id
        )
        FROM hitl_detail detail JOIN task_instance ti ON ti.id = detail.ti_id
    ),
    'dag_run', (
        SELECT jsonb_agg(
            jsonb_build_object(
                'dag_id', dag_id, 'run_id', run_id, 'run_type', run_type, 'state', state, 'logical_date', logical_date,
                'data_interval_start', data_interval_start, 'data_interval_end', data_interval_end, 'conf', conf,
                'triggered_by', triggered_by, 'triggering_user_name', triggering_user_name, 'clear_number', clear_number,
                'is_queued', queued_at IS NOT NULL, 'has_started', start_date IS NOT NULL, 'has_ended', end_date IS NOT NULL,
                'note', (SELECT content FROM dag_run_note WHERE dag_run_id = run.id)
            )
            ORDER BY dag_id, run_id
        )
        FROM dag_run run
    )
)
