-- How many scheduled task instances come before each one of a run, in all and in its pool: in the order of dispatch.
SELECT id, before, before_in_pool
FROM (
    SELECT
        ti.id, ti.dag_id, ti.run_id,
        row_number() OVER deserving - 1 AS before,
        row_number() OVER (
            PARTITION BY ti.pool
            ORDER BY ti.priority_weight DESC NULLS LAST, dag_run.logical_date, ti.map_index, ti.id
        ) - 1 AS before_in_pool
    FROM task_instance AS ti
    JOIN dag_run ON dag_run.dag_id = ti.dag_id AND dag_run.run_id = ti.run_id AND dag_run.state = 'running'
    JOIN dag ON dag.dag_id = ti.dag_id AND NOT dag.is_paused
    WHERE ti.state = 'scheduled'
    WINDOW deserving AS (ORDER BY ti.priority_weight DESC NULLS LAST, dag_run.logical_date, ti.map_index, ti.id)
) AS waiting
WHERE dag_id = $1 AND run_id = $2
