SELECT
    ti.task_id,
    ti.state,
    ti.dag_version_id,
    ti.start_date,
    ti.end_date,
    v.version_number,
    EXISTS (SELECT FROM task_instance_note n WHERE n.ti_id = ti.id AND n.content IS NOT NULL) AS has_note
FROM task_instance ti
LEFT JOIN dag_version v ON v.id = ti.dag_version_id
WHERE ti.dag_id = $1 AND ti.run_id = $2
ORDER BY ti.task_id
