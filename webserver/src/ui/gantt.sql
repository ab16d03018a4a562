-- Every attempt of the tasks of a run that are not mapped; one that waits for its next try is history already.
SELECT
    task_id,
    COALESCE(NULLIF(task_display_name, ''), task_id) AS task_display_name,
    try_number,
    state,
    scheduled_dttm,
    queued_dttm,
    start_date,
    end_date,
    FALSE AS is_group,
    FALSE AS is_mapped
FROM task_instance
WHERE dag_id = $1 AND run_id = $2 AND map_index = -1 AND state IS DISTINCT FROM 'up_for_retry'
UNION ALL
SELECT
    task_id, COALESCE(NULLIF(task_display_name, ''), task_id), try_number, state, scheduled_dttm, queued_dttm,
    start_date, end_date, FALSE, FALSE
FROM task_instance_history
WHERE dag_id = $1 AND run_id = $2 AND map_index = -1
ORDER BY task_id, try_number
