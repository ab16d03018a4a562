-- Queued task instances that no message stands for, of this scheduler ($2) or of none that lives (its last heartbeat is
-- older than $3): what a crash, a dead official scheduler or a hand left behind.
SELECT ti.id, coalesce(ti.queue, 'default') AS queue, coalesce(ti.priority_weight, 1) AS priority_weight
FROM task_instance ti
WHERE ti.state = 'queued'
  AND coalesce(ti.queued_dttm, '-infinity') < $1
  AND NOT EXISTS (SELECT FROM tradewind.outbox WHERE outbox.ti_id = ti.id)
  AND NOT EXISTS (
      SELECT FROM job
      WHERE job.id = ti.queued_by_job_id AND job.id <> $2 AND job.state = 'running' AND job.latest_heartbeat >= $3
  )
ORDER BY ti.id
LIMIT 500
FOR UPDATE OF ti SKIP LOCKED
