-- Pools by name, with what is taken of them. A negative number of slots is no limit.
SELECT
    slot_pool.pool, nullif(greatest(slot_pool.slots, -1), -1)::bigint AS slots,
    coalesce(sum(ti.pool_slots) FILTER (WHERE ti.state = 'running'), 0)::bigint AS running,
    coalesce(sum(ti.pool_slots) FILTER (WHERE ti.state = 'queued'), 0)::bigint AS queued,
    coalesce(sum(ti.pool_slots) FILTER (WHERE ti.state = 'deferred' AND slot_pool.include_deferred), 0)::bigint AS deferred
FROM slot_pool
LEFT JOIN task_instance AS ti ON ti.pool = slot_pool.pool AND ti.state IN ('queued', 'running', 'deferred')
WHERE slot_pool.pool = ANY ($1)
GROUP BY slot_pool.id
