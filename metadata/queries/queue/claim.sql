-- Takes the most urgent messages of the queues, `*` being all of them. Nothing is waited for: what another worker holds is
-- passed over, and so is a task instance that somebody changes right now, who may need its message next. A message whose task
-- instance is gone is dropped.
WITH picked AS (
    SELECT ti_id
    FROM tradewind.outbox
    WHERE queue = ANY ($1) OR '*' = ANY ($1)
    ORDER BY priority_weight DESC, created_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
free AS (
    SELECT ti.id FROM picked JOIN task_instance ti ON ti.id = picked.ti_id FOR NO KEY UPDATE OF ti SKIP LOCKED
),
taken AS (
    DELETE FROM tradewind.outbox USING picked LEFT JOIN free ON free.id = picked.ti_id
    WHERE outbox.ti_id = picked.ti_id
      AND (free.id IS NOT NULL OR NOT EXISTS (SELECT FROM task_instance ti WHERE ti.id = picked.ti_id))
    RETURNING outbox.ti_id
)
SELECT ti.id, ti.next_kwargs IS NOT NULL AS resumes, now() AS taken_at
FROM taken
JOIN task_instance ti ON ti.id = taken.ti_id
