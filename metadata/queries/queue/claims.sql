-- What a supervisor needs of task instances ($1). In a subquery Postgres does not count them, and keeps its plan.
SELECT
    ti.id, ti.dag_id, ti.task_id, ti.run_id, ti.map_index, ti.try_number, ti.max_tries, ti.hostname, ti.queue,
    ti.pool_slots, ti.priority_weight, ti.dag_version_id, ti.context_carrier -> '__var' AS context_carrier, ti.start_date, ti.queued_dttm,
    ti.scheduled_dttm, ti.operator,
    dag_run.id AS dag_run_id, dag_run.bundle_version, dag_run.logical_date, dag_run.run_after,
    dag.bundle_name, dag.relative_fileloc, dag.fileloc, dag.owners
FROM task_instance ti
JOIN dag_run ON dag_run.dag_id = ti.dag_id AND dag_run.run_id = ti.run_id
JOIN dag ON dag.dag_id = ti.dag_id
WHERE ti.id = ANY (ARRAY(SELECT unnest($1::uuid[])))
