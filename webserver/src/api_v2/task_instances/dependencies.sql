-- What the database knows about the reasons why a task instance waits; $5: the tasks before its own.
SELECT
    ti.state,
    d.is_paused,
    dr.state AS run_state,
    ti.pool,
    ti.pool_slots,
    p.pool IS NOT NULL AS pool_exists,
    CASE
        WHEN p.slots >= 0 THEN p.slots - (
            SELECT COALESCE(sum(other.pool_slots), 0)
            FROM task_instance other
            WHERE
                other.pool = ti.pool
                AND (
                    other.state IN ('running', 'queued', 'restarting')
                    OR (other.state = 'deferred' AND p.include_deferred)
                )
        )
    END AS open_slots,
    ARRAY(
        SELECT DISTINCT before.task_id::text
        FROM task_instance before
        WHERE
            before.dag_id = ti.dag_id
            AND before.run_id = ti.run_id
            AND before.task_id = ANY($5)
            AND (
                before.state IS NULL
                OR before.state NOT IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed')
            )
        ORDER BY 1
    ) AS unfinished_upstream
FROM task_instance ti
JOIN dag_run dr ON dr.dag_id = ti.dag_id AND dr.run_id = ti.run_id
JOIN dag d ON d.dag_id = ti.dag_id
LEFT JOIN slot_pool p ON p.pool = ti.pool
WHERE ti.dag_id = $1 AND ti.run_id = $2 AND ti.task_id = $3 AND ti.map_index = $4
