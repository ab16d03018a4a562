-- Scheduled task instances that may find room, the most deserving first. What certainly finds none is left out before
-- the limit: pools with too few slots, runs at `max_active_tasks`, tasks that already ran into a limit of their own. The
-- runs come first, since they are few; of each as many task instances as it has room for are sorted out.
WITH active AS (
    SELECT dag_id, run_id, count(*) AS active
    FROM task_instance
    WHERE state IN ('queued', 'running')
    GROUP BY dag_id, run_id
),
demand AS (
    SELECT ti.dag_id, ti.run_id
    FROM task_instance ti
    WHERE ti.state = 'scheduled' AND ti.pool = ANY ($1)
    GROUP BY ti.dag_id, ti.run_id
),
run AS (
    SELECT
        dag_run.id, dag_run.dag_id, dag_run.run_id, dag_run.logical_date, dag.has_task_concurrency_limits,
        dag.max_active_tasks - coalesce(active.active, 0) AS room
    FROM demand
    JOIN dag_run ON dag_run.dag_id = demand.dag_id AND dag_run.run_id = demand.run_id AND dag_run.state = 'running'
    JOIN dag ON dag.dag_id = demand.dag_id AND NOT dag.is_paused
    LEFT JOIN active ON active.dag_id = demand.dag_id AND active.run_id = demand.run_id
    WHERE dag.max_active_tasks > coalesce(active.active, 0)
)
SELECT
    ti.id, run.dag_id, ti.task_id, ti.pool, ti.pool_slots, ti.queue, ti.priority_weight, run.id AS dag_run_id,
    run.room AS run_room, run.has_task_concurrency_limits
FROM run
CROSS JOIN LATERAL (
    SELECT ti.id, ti.task_id, ti.pool, ti.pool_slots, ti.queue, ti.priority_weight, ti.map_index
    FROM task_instance ti
    JOIN unnest($1::text[], $2::bigint[]) AS room (pool, open) ON room.pool = ti.pool AND room.open >= ti.pool_slots
    WHERE ti.dag_id = run.dag_id
      AND ti.run_id = run.run_id
      AND ti.state = 'scheduled'
      AND NOT EXISTS (
          SELECT FROM unnest($3::int[], $4::text[]) AS starved (dag_run_id, task_id)
          WHERE starved.dag_run_id = run.id AND starved.task_id = ti.task_id
      )
    ORDER BY ti.priority_weight DESC NULLS LAST, ti.map_index, ti.id
    LIMIT run.room
) ti
ORDER BY ti.priority_weight DESC NULLS LAST, run.logical_date, ti.map_index, ti.id
LIMIT $5
