SELECT ti.id, ti.task_id, ti.run_id, ti.map_index, ti.try_number, ti.dag_version_id
FROM task_instance AS ti
JOIN tradewind.priority_weight AS wanted ON wanted.ti_id = ti.id
WHERE ti.dag_id = $1 AND ti.run_id = $2
ORDER BY ti.id
LIMIT $3
