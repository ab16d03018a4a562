-- What the database counts for the dependencies of a task instance, as `airflow/ti_deps/deps/` does.
SELECT
    p.pool IS NOT NULL AS pool_exists,
    ti.pool,
    ti.pool_slots,
    CASE
        WHEN p.slots >= 0 THEN p.slots - (
            SELECT COALESCE(sum(other.pool_slots), 0)
            FROM task_instance other
            WHERE
                other.pool = ti.pool
                AND (other.state IN ('running', 'queued') OR (other.state = 'deferred' AND p.include_deferred))
        )
    END AS open_slots,
    (
        SELECT count(*) FROM task_instance other WHERE other.dag_id = ti.dag_id AND other.state = 'running'
    ) AS running_of_dag,
    of_task.active,
    of_task.active_in_run
FROM task_instance ti
LEFT JOIN slot_pool p ON p.pool = ti.pool
CROSS JOIN LATERAL (
    SELECT count(*) AS active, count(*) FILTER (WHERE other.run_id = ti.run_id) AS active_in_run
    FROM task_instance other
    WHERE
        other.dag_id = ti.dag_id
        AND other.task_id = ti.task_id
        AND other.state IN ('running', 'deferred', 'awaiting_input')
) AS of_task
WHERE ti.id = $1
