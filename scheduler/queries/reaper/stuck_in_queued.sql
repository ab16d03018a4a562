-- Task instances that wait too long in a queue of which nothing runs: no worker serves it. They are of this scheduler
-- ($2) or of none that lives (its last heartbeat is older than $3). `reschedules` says how often that happened to the
-- attempt since it last ran.
SELECT
    ti.id, ti.dag_id, ti.task_id, ti.run_id, ti.map_index, ti.try_number, ti.start_date, ti.end_date,
    coalesce(ti.queue, 'default') AS queue,
    (
        SELECT count(*)
        FROM log
        WHERE log.dag_id = ti.dag_id AND log.task_id = ti.task_id AND log.run_id = ti.run_id
          AND log.map_index = ti.map_index AND log.try_number = ti.try_number
          AND log.event = 'stuck in queued reschedule'
          AND log.dttm > coalesce(
              (
                  SELECT max(ran.dttm)
                  FROM log AS ran
                  WHERE ran.dag_id = ti.dag_id AND ran.task_id = ti.task_id AND ran.run_id = ti.run_id
                    AND ran.map_index = ti.map_index AND ran.try_number = ti.try_number AND ran.event = 'running'
              ),
              '-infinity'
          )
    ) AS reschedules
FROM task_instance ti
WHERE ti.state = 'queued'
  AND ti.queued_dttm < $1
  AND NOT EXISTS (SELECT FROM task_instance busy WHERE busy.state = 'running' AND busy.queue = ti.queue)
  AND NOT EXISTS (
      SELECT FROM job
      WHERE job.id = ti.queued_by_job_id AND job.id <> $2 AND job.state = 'running' AND job.latest_heartbeat >= $3
  )
ORDER BY ti.id
LIMIT 100
FOR UPDATE OF ti SKIP LOCKED
