-- Scheduled task instances that may find room, the most deserving first. What certainly finds none is left out before
-- the limit: pools with too few slots, runs at `max_active_tasks`, tasks that already ran into a limit of their own.
WITH active AS (
    SELECT dag_id, run_id, count(*) AS active
    FROM task_instance
    WHERE state IN ('queued', 'running')
    GROUP BY dag_id, run_id
),
waiting AS (
    SELECT
        ti.id, ti.dag_id, ti.task_id, ti.pool, ti.pool_slots, ti.queue, ti.priority_weight, ti.map_index,
        dag_run.id AS dag_run_id, dag_run.logical_date,
        dag.has_task_concurrency_limits,
        dag.max_active_tasks - coalesce(active.active, 0) AS run_room,
        row_number() OVER (
            PARTITION BY dag_run.id
            ORDER BY ti.priority_weight DESC NULLS LAST, ti.map_index, ti.id
        ) AS place
    FROM task_instance ti
    JOIN unnest($1::text[], $2::bigint[]) AS room (pool, open) ON room.pool = ti.pool AND room.open >= ti.pool_slots
    JOIN dag_run ON dag_run.dag_id = ti.dag_id AND dag_run.run_id = ti.run_id AND dag_run.state = 'running'
    JOIN dag ON dag.dag_id = ti.dag_id AND NOT dag.is_paused
    LEFT JOIN active ON active.dag_id = ti.dag_id AND active.run_id = ti.run_id
    WHERE ti.state = 'scheduled'
      AND ti.pool = ANY ($1)
      AND dag.max_active_tasks > coalesce(active.active, 0)
      AND NOT EXISTS (
          SELECT FROM unnest($3::int[], $4::text[]) AS starved (dag_run_id, task_id)
          WHERE starved.dag_run_id = dag_run.id AND starved.task_id = ti.task_id
      )
)
SELECT id, dag_id, task_id, pool, pool_slots, queue, priority_weight, dag_run_id, run_room, has_task_concurrency_limits
FROM waiting
WHERE place <= run_room
ORDER BY priority_weight DESC NULLS LAST, logical_date, map_index, id
LIMIT $5
