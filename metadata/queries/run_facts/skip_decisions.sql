SELECT task_id, map_index, value
FROM xcom
WHERE dag_run_id = $1 AND task_id = ANY ($2) AND key = 'skipmixin_key'
