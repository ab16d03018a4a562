-- Of these task instances those that wait for the end of the process that was cleared, with the version of the Dag that
-- their run is pinned to.
SELECT
    ti.id, ti.dag_id, ti.task_id, ti.try_number, ti.max_tries,
    CASE WHEN dag_run.bundle_version <> '' THEN dag_run.created_dag_version_id END AS pinned_dag_version_id
FROM task_instance AS ti
JOIN dag_run ON dag_run.dag_id = ti.dag_id AND dag_run.run_id = ti.run_id
WHERE ti.id = ANY ($1) AND ti.state = 'restarting'
ORDER BY ti.id
FOR UPDATE OF ti
