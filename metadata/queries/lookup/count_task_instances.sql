-- Counts task instances of a Dag ($1). Empty lists do not restrict: tasks ($3), logical dates ($4), runs ($5), pairs of
-- task and map index ($6, $7), states ($8, where 'null' is no state).
SELECT count(*)
FROM task_instance ti
JOIN dag_run run USING (dag_id, run_id)
WHERE dag_id = $1
    AND ($2::int IS NULL OR ti.map_index = $2)
    AND (cardinality($3::text[]) = 0 OR ti.task_id = ANY($3))
    AND (cardinality($4::timestamptz[]) = 0 OR run.logical_date = ANY($4))
    AND (cardinality($5::text[]) = 0 OR run_id = ANY($5))
    AND (
        cardinality($6::text[]) = 0
        OR (ti.task_id, ti.map_index) IN (SELECT * FROM unnest($6::text[], $7::int[]))
    )
    AND (cardinality($8::text[]) = 0 OR coalesce(ti.state, 'null') = ANY($8))
