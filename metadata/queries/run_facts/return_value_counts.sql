SELECT task_id, count(*) AS length
FROM xcom
WHERE dag_run_id = $1 AND task_id = ANY ($2) AND map_index >= 0 AND key = 'return_value'
GROUP BY task_id
