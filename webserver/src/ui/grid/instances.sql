SELECT
    ti.task_id,
    ti.state,
    ti.dag_version_id,
    ti.start_date,
    ti.end_date,
    v.version_number,
    n.ti_id IS NOT NULL AS has_note
FROM task_instance ti
LEFT JOIN dag_version v ON v.id = ti.dag_version_id
LEFT JOIN task_instance_note n ON n.ti_id = ti.id AND n.content IS NOT NULL
WHERE ti.dag_id = $1 AND ti.run_id = $2
