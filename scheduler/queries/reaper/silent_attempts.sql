-- Attempts whose worker has gone silent. One that another scheduler looks at is passed over.
SELECT
    ti.id, ti.dag_id, ti.task_id, ti.run_id, ti.map_index, ti.try_number, ti.max_tries, ti.hostname,
    ti.external_executor_id, ti.operator
FROM task_instance ti
WHERE ti.state = 'running'
  AND coalesce(ti.last_heartbeat_at, ti.start_date, ti.queued_dttm) < $1
ORDER BY ti.id
LIMIT 100
FOR UPDATE OF ti SKIP LOCKED
