SELECT DISTINCT task_instance.task_id
FROM task_instance
JOIN dag_run USING (dag_id, run_id)
WHERE dag_id = $1 AND dag_run.logical_date < $2 AND task_instance.task_id = ANY ($3)
