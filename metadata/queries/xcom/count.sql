-- How many task instances of a task pushed a value, with prior runs when $5.
SELECT count(*)
FROM xcom x
JOIN dag_run d ON d.id = x.dag_run_id
WHERE x.dag_id = $1 AND x.task_id = $3 AND x.key = $4
    AND (
        x.run_id = $2
        OR (
            $5
            AND coalesce(d.logical_date, d.run_after) <= (
                SELECT coalesce(named.logical_date, named.run_after)
                FROM dag_run named
                WHERE named.dag_id = $1 AND named.run_id = $2
            )
        )
    )
