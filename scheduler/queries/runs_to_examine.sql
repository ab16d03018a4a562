-- Running runs that may have to move on though nobody told of it, those longest not decided on first: never decided on;
-- not for long ($2); by a scheduler that has died since ($5: no heartbeat since); or something has changed since then that
-- counts for others, where the clocks that dated both may differ by some seconds ($3). $4 is this scheduler.
SELECT dag_run.id
FROM dag_run
JOIN dag ON dag.dag_id = dag_run.dag_id
LEFT JOIN job ON job.id = dag_run.scheduled_by_job_id
WHERE dag_run.state = 'running'
  AND NOT dag.is_stale
  AND (
      dag_run.last_scheduling_decision IS NULL
      OR dag_run.last_scheduling_decision < $2
      OR job.id IS NULL
      OR (job.id <> $4 AND (job.state IS DISTINCT FROM 'running' OR job.latest_heartbeat < $5))
      OR EXISTS (
          SELECT FROM task_instance ti
          WHERE ti.dag_id = dag_run.dag_id
            AND ti.run_id = dag_run.run_id
            AND ti.updated_at > dag_run.last_scheduling_decision - make_interval(secs => $3)
            AND (ti.state IS NULL OR ti.state NOT IN ('scheduled', 'queued', 'running'))
      )
      OR EXISTS (
          SELECT FROM dag_version
          WHERE dag_version.dag_id = dag_run.dag_id
            AND dag_version.created_at > dag_run.last_scheduling_decision - make_interval(secs => $3)
      )
  )
ORDER BY dag_run.last_scheduling_decision NULLS FIRST, dag_run.run_after
LIMIT $1
