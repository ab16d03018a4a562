-- Attempts that were not heard of for $1 seconds, by the clock of the database, as heartbeats are: that of a scheduler may
-- be wrong. One that another scheduler looks at is passed over.
SELECT
    ti.id, ti.dag_id, ti.task_id, ti.run_id, ti.map_index, ti.try_number, ti.max_tries, ti.hostname,
    ti.external_executor_id, ti.operator
FROM task_instance ti
WHERE ti.state = 'running'
  AND coalesce(ti.last_heartbeat_at, ti.start_date, ti.queued_dttm) < now() - make_interval(secs => $1)
ORDER BY ti.id
LIMIT 100
FOR UPDATE OF ti SKIP LOCKED
