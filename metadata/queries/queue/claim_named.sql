-- Takes the messages of these task instances, as far as they wait. Who else is about to take or to publish one is waited for:
-- its row alone tells whether what was received is still to be done. The task instances are locked first, as everybody does who
-- needs both rows.
WITH held AS (
    SELECT id FROM task_instance WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE
),
picked AS (
    SELECT ti_id
    FROM tradewind.outbox
    WHERE ti_id = ANY ($1) AND (SELECT count(*) FROM held) >= 0
    ORDER BY ti_id
    FOR UPDATE
),
taken AS (
    DELETE FROM tradewind.outbox USING picked WHERE outbox.ti_id = picked.ti_id RETURNING outbox.ti_id
)
SELECT ti.id, ti.next_kwargs IS NOT NULL AS resumes, now() AS taken_at
FROM taken
JOIN task_instance ti ON ti.id = taken.ti_id
