-- The named task instances of a run that neither run nor have ended by themselves, locked.
SELECT ti.id, ti.state
FROM task_instance ti
JOIN unnest($3::text[], $4::int[]) AS wanted (task_id, map_index)
    ON wanted.task_id = ti.task_id AND wanted.map_index = ti.map_index
WHERE ti.dag_id = $1
    AND ti.run_id = $2
    AND (ti.state IS NULL OR ti.state NOT IN ('running', 'success', 'failed'))
ORDER BY ti.id
FOR UPDATE OF ti
