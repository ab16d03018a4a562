SELECT state, dag_id, task_id, coalesce(queue, 'default'), count(*)
FROM task_instance
WHERE state IN ('scheduled', 'queued', 'running', 'deferred', 'awaiting_input')
GROUP BY 1, 2, 3, 4
