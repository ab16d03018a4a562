-- Queued task instances that no message stands for: what a crash, an official scheduler or a hand left behind.
SELECT ti.id, coalesce(ti.queue, 'default') AS queue, coalesce(ti.priority_weight, 1) AS priority_weight
FROM task_instance ti
WHERE ti.state = 'queued'
  AND coalesce(ti.queued_dttm, '-infinity') < $1
  AND NOT EXISTS (SELECT FROM tradewind.outbox WHERE outbox.ti_id = ti.id)
ORDER BY ti.id
LIMIT 500
FOR UPDATE OF ti SKIP LOCKED
