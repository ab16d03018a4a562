-- Task instances that count against the limits of their tasks: also those that wait for a trigger or a person, which
-- hold no slot (`ACTIVE_STATES` in `airflow/ti_deps/dependencies_states.py`).
SELECT task_instance.dag_id, task_instance.task_id, dag_run.id AS dag_run_id, count(*) AS active
FROM task_instance
JOIN dag_run USING (dag_id, run_id)
WHERE task_instance.state IN ('queued', 'running', 'deferred', 'awaiting_input') AND task_instance.dag_id = ANY ($1)
GROUP BY task_instance.dag_id, task_instance.task_id, dag_run.id
