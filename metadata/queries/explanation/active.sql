-- Task instances that are queued or running: all, and those of a run.
SELECT count(*) AS total, count(*) FILTER (WHERE dag_id = $1 AND run_id = $2) AS in_run
FROM task_instance
WHERE state IN ('queued', 'running')
