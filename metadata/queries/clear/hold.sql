-- The task instances of a run that are cleared ($3, all when null), locked.
SELECT id, task_id, state, try_number, max_tries, end_date IS NOT NULL AS has_ended, dag_version_id
FROM task_instance
WHERE dag_id = $1 AND run_id = $2 AND ($3::uuid[] IS NULL OR id = ANY ($3))
ORDER BY id
FOR UPDATE
