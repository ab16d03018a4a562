-- Takes over ($1: this scheduler's job) what schedulers that are gone had queued, in runs that go on. One that another
-- scheduler looks at is passed over.
WITH orphan AS (
    SELECT ti.id
    FROM task_instance ti
    JOIN job ON job.id = ti.queued_by_job_id
    JOIN dag_run ON dag_run.dag_id = ti.dag_id AND dag_run.run_id = ti.run_id
    WHERE ti.state IN ('queued', 'running', 'restarting')
      AND job.state IS DISTINCT FROM 'running'
      AND dag_run.state = 'running'
    ORDER BY ti.id
    LIMIT 1000
    FOR UPDATE OF ti SKIP LOCKED
)
UPDATE task_instance ti
SET queued_by_job_id = $1, last_heartbeat_at = coalesce(ti.last_heartbeat_at, $2)
FROM orphan
WHERE ti.id = orphan.id
