-- Who holds most slots of each pool, up to $2.
SELECT
    slot_pool.pool, holder.dag_id, holder.run_id, holder.task_id, holder.map_index, holder.state,
    holder.pool_slots::bigint AS slots, coalesce(holder.start_date, holder.queued_dttm) AS since
FROM slot_pool
CROSS JOIN LATERAL (
    SELECT *
    FROM task_instance AS ti
    WHERE ti.pool = slot_pool.pool
      AND (ti.state IN ('queued', 'running') OR (slot_pool.include_deferred AND ti.state = 'deferred'))
    ORDER BY ti.pool_slots DESC, coalesce(ti.start_date, ti.queued_dttm), ti.id
    LIMIT $2
) AS holder
WHERE slot_pool.pool = ANY ($1)
