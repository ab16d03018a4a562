-- Task instances of tasks that limit themselves: those that wait for a trigger or a person count, too.
SELECT task_id, count(*) AS in_all_runs, count(*) FILTER (WHERE run_id = $2) AS in_run
FROM task_instance
WHERE dag_id = $1 AND task_id = ANY ($3) AND state IN ('queued', 'running', 'deferred', 'awaiting_input')
GROUP BY task_id
