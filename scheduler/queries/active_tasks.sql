SELECT task_instance.dag_id, task_instance.task_id, dag_run.id AS dag_run_id, count(*) AS active
FROM task_instance
JOIN dag_run USING (dag_id, run_id)
WHERE task_instance.state IN ('queued', 'running') AND task_instance.dag_id = ANY ($1)
GROUP BY task_instance.dag_id, task_instance.task_id, dag_run.id
