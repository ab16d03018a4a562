INSERT INTO task_instance (
    id, dag_id, task_id, run_id, map_index, state, try_number, max_tries, hostname, unixname, pool, pool_slots, queue,
    priority_weight, operator, custom_operator_name, task_display_name, executor, executor_config, dag_version_id,
    context_carrier, span_status, updated_at
)
SELECT
    new.id, $2, new.task_id, $3, new.map_index, new.state, 0, new.max_tries, '', current_user, new.pool, new.pool_slots,
    new.queue, new.priority_weight, new.operator, new.custom_operator_name, new.task_display_name, new.executor,
    coalesce(decode(new.executor_config, 'hex'), $6), $4, $5, 'not_started', $7
FROM jsonb_to_recordset($1) AS new (
    id uuid, task_id text, map_index int, state text, max_tries int, pool text, pool_slots int, queue text,
    priority_weight int, operator text, custom_operator_name text, task_display_name text, executor text,
    executor_config text
)
ON CONFLICT (dag_id, task_id, run_id, map_index) DO NOTHING
