-- The task instance when it is in attempt $5, else what history knows of that attempt; and who runs its trigger.
SELECT attempt.state, attempt.try_number, attempt.updated_at, COALESCE(dr.logical_date, dr.run_after) AS logical_date,
    attempt.hostname, triggerer.id AS triggerer_id, triggerer.hostname AS triggerer_hostname
FROM (
    SELECT dag_id, run_id, state, try_number, updated_at, hostname, trigger_id, 1 AS preference
    FROM task_instance
    WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND map_index = $4 AND try_number = $5
    UNION ALL
    SELECT dag_id, run_id, state, try_number, updated_at, hostname, NULL, 2
    FROM task_instance_history
    WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND map_index = $4 AND try_number = $5
) AS attempt
JOIN dag_run dr ON dr.dag_id = attempt.dag_id AND dr.run_id = attempt.run_id
LEFT JOIN trigger ON trigger.id = attempt.trigger_id
LEFT JOIN job triggerer ON triggerer.id = trigger.triggerer_id
ORDER BY attempt.preference
LIMIT 1
