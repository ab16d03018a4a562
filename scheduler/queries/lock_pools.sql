-- The pools that scheduled task instances want slots of, held in one order, with what is taken of them, and how many task
-- instances are active in all. What has ended is never read: there is ever more of it.
WITH held AS (
    SELECT slot_pool.pool, slot_pool.slots, slot_pool.include_deferred
    FROM slot_pool
    WHERE (
        SELECT true
        FROM task_instance ti
        WHERE ti.pool = slot_pool.pool AND ti.state = 'scheduled'
        -- In the order of an index, which makes Postgres use it.
        ORDER BY ti.priority_weight
        LIMIT 1
    )
    ORDER BY slot_pool.pool
    FOR NO KEY UPDATE OF slot_pool
),
active AS (
    SELECT pool, state = 'deferred' AS is_deferred, sum(pool_slots)::bigint AS slots, count(*) AS task_instances
    FROM task_instance
    WHERE state IN ('queued', 'running', 'deferred')
    GROUP BY pool, state = 'deferred'
)
SELECT
    held.pool,
    CASE WHEN held.slots < 0 THEN 2147483647 ELSE held.slots END::bigint - coalesce(
        (
            SELECT sum(active.slots)
            FROM active
            WHERE active.pool = held.pool AND (held.include_deferred OR NOT active.is_deferred)
        ),
        0
    )::bigint AS open,
    (SELECT coalesce(sum(task_instances), 0)::bigint FROM active WHERE NOT is_deferred) AS all_active
FROM held
