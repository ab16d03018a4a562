-- The pools that scheduled task instances want slots of, held in one order, with what is taken of them.
WITH held AS (
    SELECT slot_pool.pool, slot_pool.slots, slot_pool.include_deferred
    FROM slot_pool
    WHERE EXISTS (
        SELECT FROM task_instance WHERE task_instance.pool = slot_pool.pool AND task_instance.state = 'scheduled'
    )
    ORDER BY slot_pool.pool
    FOR NO KEY UPDATE OF slot_pool
)
SELECT
    held.pool,
    CASE WHEN held.slots < 0 THEN 2147483647 ELSE held.slots END::bigint - coalesce(taken.slots, 0) AS open
FROM held
LEFT JOIN LATERAL (
    SELECT sum(pool_slots)::bigint AS slots
    FROM task_instance
    WHERE task_instance.pool = held.pool
      AND (state IN ('queued', 'running') OR (held.include_deferred AND state = 'deferred'))
) AS taken ON true
