slot_pool p
CROSS JOIN LATERAL (
    SELECT
        COALESCE(sum(ti.pool_slots) FILTER (WHERE ti.state IN ('running', 'restarting')), 0) AS running,
        COALESCE(sum(ti.pool_slots) FILTER (WHERE ti.state = 'queued'), 0) AS queued,
        COALESCE(sum(ti.pool_slots) FILTER (WHERE ti.state = 'scheduled'), 0) AS scheduled,
        COALESCE(sum(ti.pool_slots) FILTER (WHERE ti.state = 'deferred'), 0) AS deferred
    FROM task_instance ti
    WHERE ti.pool = p.pool AND ti.state IN ('running', 'restarting', 'queued', 'scheduled', 'deferred')
) AS used
