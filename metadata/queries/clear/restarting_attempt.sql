-- The task instance that was cleared while this attempt of it ran.
SELECT id
FROM task_instance
WHERE dag_id = $1 AND run_id = $2 AND task_id = $3 AND map_index = $4 AND try_number = $5 AND state = 'restarting'
