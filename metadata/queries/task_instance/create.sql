INSERT INTO task_instance (
    id, dag_id, task_id, run_id, map_index, state, try_number, max_tries, hostname, unixname, pool, pool_slots, queue,
    priority_weight, operator, custom_operator_name, task_display_name, executor, executor_config, dag_version_id,
    context_carrier, span_status, updated_at
)
SELECT
    new.id, new.dag_id, new.task_id, new.run_id, new.map_index, new.state, 0, new.max_tries, '', current_user, new.pool,
    new.pool_slots, new.queue, new.priority_weight, new.operator, new.custom_operator_name, new.task_display_name,
    new.executor, new.executor_config, new.dag_version_id, new.context_carrier, 'not_started', $19
FROM unnest(
    $1::text[], $2::text[], $3::uuid[], $4::jsonb[], $5::uuid[], $6::text[], $7::int[], $8::text[], $9::int[],
    $10::text[], $11::int[], $12::text[], $13::int[], $14::text[], $15::text[], $16::text[], $17::text[], $18::bytea[]
) AS new (
    dag_id, run_id, dag_version_id, context_carrier, id, task_id, map_index, state, max_tries, pool, pool_slots, queue,
    priority_weight, operator, custom_operator_name, task_display_name, executor, executor_config
)
ON CONFLICT (dag_id, task_id, run_id, map_index) DO NOTHING
