-- Whether a task instance waits for a slot.
SELECT EXISTS (
    SELECT
    FROM slot_pool
    WHERE (
        SELECT true
        FROM task_instance ti
        WHERE ti.pool = slot_pool.pool AND ti.state = 'scheduled'
        -- In the order of an index, which makes Postgres use it.
        ORDER BY ti.priority_weight
        LIMIT 1
    )
)
