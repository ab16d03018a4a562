-- Slots of every pool by the states of the task instances that want or hold them, and how many scheduled task instances
-- find too few slots open.
WITH wanted AS (
    SELECT
        pool,
        coalesce(sum(pool_slots) FILTER (WHERE state = 'scheduled'), 0)::bigint AS scheduled,
        coalesce(sum(pool_slots) FILTER (WHERE state = 'queued'), 0)::bigint AS queued,
        coalesce(sum(pool_slots) FILTER (WHERE state = 'running'), 0)::bigint AS running,
        coalesce(sum(pool_slots) FILTER (WHERE state = 'deferred'), 0)::bigint AS deferred
    FROM task_instance
    WHERE state IN ('scheduled', 'queued', 'running', 'deferred')
    GROUP BY pool
)
SELECT
    slot_pool.pool, slot_pool.slots, slot_pool.include_deferred,
    coalesce(wanted.scheduled, 0) AS scheduled,
    coalesce(wanted.queued, 0) AS queued,
    coalesce(wanted.running, 0) AS running,
    coalesce(wanted.deferred, 0) AS deferred,
    CASE WHEN slot_pool.slots < 0 OR wanted.scheduled IS NULL OR wanted.scheduled = 0 THEN 0 ELSE (
        SELECT count(*)
        FROM task_instance ti
        WHERE ti.pool = slot_pool.pool
          AND ti.state = 'scheduled'
          AND ti.pool_slots > slot_pool.slots - wanted.queued - wanted.running
              - CASE WHEN slot_pool.include_deferred THEN wanted.deferred ELSE 0 END
    ) END AS starving
FROM slot_pool
LEFT JOIN wanted ON wanted.pool = slot_pool.pool
