-- Task instances of a Dag ($1) with their states. Empty lists do not restrict: tasks ($3), logical dates ($4), runs ($5).
SELECT run_id, ti.task_id, ti.map_index, ti.state
FROM task_instance ti
JOIN dag_run run USING (dag_id, run_id)
WHERE dag_id = $1
    AND ($2::int IS NULL OR ti.map_index = $2)
    AND (cardinality($3::text[]) = 0 OR ti.task_id = ANY($3))
    AND (cardinality($4::timestamptz[]) = 0 OR run.logical_date = ANY($4))
    AND (cardinality($5::text[]) = 0 OR run_id = ANY($5))
ORDER BY run.id, ti.task_id, ti.map_index
