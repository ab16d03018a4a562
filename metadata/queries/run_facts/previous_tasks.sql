SELECT
    task_id,
    count(*) AS total,
    count(*) FILTER (WHERE coalesce(state, '') NOT IN ('success', 'skipped')) AS unsuccessful
FROM task_instance
WHERE dag_id = $1 AND run_id = $2
GROUP BY task_id
