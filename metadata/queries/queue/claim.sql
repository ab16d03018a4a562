-- Takes the most urgent messages of the queues, `*` being all of them; a message that another worker holds is passed
-- over.
WITH picked AS (
    SELECT ti_id
    FROM tradewind.outbox
    WHERE queue = ANY ($1) OR '*' = ANY ($1)
    ORDER BY priority_weight DESC, created_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),
taken AS (
    DELETE FROM tradewind.outbox USING picked WHERE outbox.ti_id = picked.ti_id RETURNING outbox.ti_id
)
SELECT ti.id, ti.next_kwargs IS NOT NULL AS resumes, now() AS taken_at
FROM taken
JOIN task_instance ti ON ti.id = taken.ti_id
