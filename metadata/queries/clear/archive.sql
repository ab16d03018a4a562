-- Copies attempts ($1) into the history, unless their try is there already. One that has not finished counts as failed
-- now.
INSERT INTO task_instance_history (
    task_instance_id, task_id, dag_id, run_id, map_index, try_number, start_date, end_date, duration, state,
    max_tries, hostname, unixname, pool, pool_slots, queue, priority_weight, operator, custom_operator_name,
    queued_dttm, scheduled_dttm, queued_by_job_id, pid, executor, executor_config, updated_at, rendered_map_index,
    context_carrier, span_status, external_executor_id, trigger_id, trigger_timeout, next_method, next_kwargs,
    task_display_name, dag_version_id, retry_delay_override, retry_reason
)
SELECT
    id, task_id, dag_id, run_id, map_index, try_number, start_date,
    CASE WHEN has_finished THEN end_date ELSE coalesce(end_date, now()) END,
    CASE WHEN has_finished OR end_date IS NOT NULL THEN duration ELSE extract(epoch FROM now() - start_date)::float8 END,
    CASE WHEN has_finished THEN state ELSE 'failed' END,
    max_tries, hostname, unixname, pool, pool_slots, queue, priority_weight, operator, custom_operator_name,
    queued_dttm, scheduled_dttm, queued_by_job_id, pid, executor, executor_config, updated_at,
    coalesce(rendered_map_index, CASE WHEN map_index >= 0 THEN map_index::text END),
    context_carrier, span_status, external_executor_id, trigger_id, trigger_timeout AT TIME ZONE 'UTC', next_method,
    next_kwargs, coalesce(task_display_name, task_id), dag_version_id, retry_delay_override, retry_reason
FROM task_instance
CROSS JOIN LATERAL (
    SELECT coalesce(state IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed'), false) AS has_finished
) AS finish
WHERE id = ANY ($1)
ON CONFLICT (dag_id, task_id, run_id, map_index, try_number) DO NOTHING
