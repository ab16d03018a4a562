-- Copies an attempt ($1) that ended at $2 into the history, unless that try is there already.
INSERT INTO task_instance_history (
    task_instance_id, task_id, dag_id, run_id, map_index, try_number, start_date, end_date, duration, state,
    max_tries, hostname, unixname, pool, pool_slots, queue, priority_weight, operator, custom_operator_name,
    queued_dttm, scheduled_dttm, queued_by_job_id, pid, executor, executor_config, updated_at, rendered_map_index,
    context_carrier, span_status, external_executor_id, trigger_id, trigger_timeout, next_method, next_kwargs,
    task_display_name, dag_version_id, retry_delay_override, retry_reason
)
SELECT
    id, task_id, dag_id, run_id, map_index, try_number, start_date, $2,
    extract(epoch FROM $2 - start_date)::float8, 'failed',
    max_tries, hostname, unixname, pool, pool_slots, queue, priority_weight, operator, custom_operator_name,
    queued_dttm, scheduled_dttm, queued_by_job_id, pid, executor, executor_config, updated_at,
    coalesce($3, CASE WHEN map_index >= 0 THEN map_index::text END),
    context_carrier, span_status, external_executor_id, trigger_id, trigger_timeout AT TIME ZONE 'UTC', next_method,
    next_kwargs, coalesce(task_display_name, task_id), dag_version_id, $4, $5
FROM task_instance
WHERE id = $1
ON CONFLICT (dag_id, task_id, run_id, map_index, try_number) DO NOTHING
