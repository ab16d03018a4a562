SELECT state, count(*)
FROM (
    SELECT ti.state
    FROM task_instance ti
    JOIN dag_run dr ON dr.dag_id = ti.dag_id AND dr.run_id = ti.run_id
    WHERE dr.run_after >= $1 AND dr.run_after <= $2 /* of: dr.dag_id */
    LIMIT $3
) AS counted
GROUP BY state
