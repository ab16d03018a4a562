-- Task instances that wait for workers of these queues, and those that run.
SELECT
    coalesce(queue, 'default') AS queue,
    count(*) FILTER (WHERE state = 'queued') AS queued,
    count(*) FILTER (WHERE state = 'running') AS running
FROM task_instance
WHERE state IN ('queued', 'running') AND coalesce(queue, 'default') = ANY ($1)
GROUP BY 1
