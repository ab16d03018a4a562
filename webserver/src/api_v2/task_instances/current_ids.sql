-- The ids that task instances have now, in the order in which they are named.
SELECT ti.id
FROM unnest($2::text[], $3::text[], $4::integer[]) WITH ORDINALITY AS named (run_id, task_id, map_index, place)
JOIN task_instance ti
    ON ti.dag_id = $1 AND ti.run_id = named.run_id AND ti.task_id = named.task_id AND ti.map_index = named.map_index
ORDER BY named.place
