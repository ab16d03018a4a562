SELECT
    ti.id, ti.task_id, ti.map_index, ti.state, ti.try_number, ti.max_tries, ti.start_date, ti.end_date,
    ti.retry_delay_override, ti.dag_version_id,
    CASE
        WHEN ti.state = 'up_for_reschedule' THEN (
            SELECT reschedule_date FROM task_reschedule WHERE task_reschedule.ti_id = ti.id ORDER BY id DESC LIMIT 1
        )
    END AS next_reschedule_at
FROM task_instance ti
WHERE ti.dag_id = $1 AND ti.run_id = $2
