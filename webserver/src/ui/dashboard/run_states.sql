SELECT state, count(*)
FROM (SELECT state FROM dag_run WHERE run_after >= $1 AND run_after <= $2 /* of: dag_id */ LIMIT $3) AS counted
GROUP BY state
