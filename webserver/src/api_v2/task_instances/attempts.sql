-- All attempts of a task instance; the present one comes last.
SELECT
    attempt.*,
    COALESCE(d.dag_display_name, d.dag_id) AS dag_display_name,
    v.id AS version_id,
    v.version_number,
    v.dag_id AS version_dag_id,
    v.bundle_name AS version_bundle_name,
    v.bundle_version AS version_bundle_version,
    v.created_at AS version_created_at,
    COALESCE(d.dag_display_name, d.dag_id) AS version_dag_display_name
FROM (
    SELECT
        task_instance_id AS id, TRUE AS is_past, task_id, dag_id, run_id, map_index, start_date, end_date, duration,
        state, try_number, max_tries,
        COALESCE(NULLIF(task_display_name, ''), task_id) AS task_display_name, hostname, unixname, pool, pool_slots,
        queue, priority_weight, operator, custom_operator_name, queued_dttm, scheduled_dttm, pid, executor,
        executor_config, dag_version_id
    FROM task_instance_history
    WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND map_index = $4
    UNION ALL
    SELECT
        id, FALSE, task_id, dag_id, run_id, map_index, start_date, end_date, duration, state, try_number, max_tries,
        COALESCE(NULLIF(task_display_name, ''), task_id), hostname, unixname, pool, pool_slots,
        queue, priority_weight, operator, custom_operator_name, queued_dttm, scheduled_dttm, pid, executor,
        executor_config, dag_version_id
    FROM task_instance
    WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND map_index = $4
) AS attempt
JOIN dag d ON d.dag_id = attempt.dag_id
LEFT JOIN dag_version v ON v.id = attempt.dag_version_id
ORDER BY attempt.is_past DESC, attempt.try_number
