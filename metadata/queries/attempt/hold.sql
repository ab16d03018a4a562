-- The facts a report about an attempt needs, with the attempt's row locked until the transaction ends.
SELECT
    ti.id, ti.state, ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number, ti.max_tries, ti.hostname,
    ti.unixname, ti.pid, ti.start_date, ti.next_method, ti.next_kwargs,
    dr.id AS dag_run_id, dr.logical_date, dr.partition_key, dr.partition_date,
    dag.owners, dag.fail_fast
FROM task_instance ti
JOIN dag_run dr ON dr.dag_id = ti.dag_id AND dr.run_id = ti.run_id
JOIN dag ON dag.dag_id = ti.dag_id
WHERE ti.id = $1
FOR UPDATE OF ti
