SELECT task_id, length::bigint AS length
FROM task_map
WHERE dag_id = $1 AND run_id = $2 AND task_id = ANY ($3) AND map_index = -1
