-- Stores a value for the task of an attempt ($1).
INSERT INTO task_state_store (dag_run_id, dag_id, run_id, task_id, map_index, key, value, updated_at, expires_at)
SELECT run.id, ti.dag_id, ti.run_id, ti.task_id, ti.map_index, $2, $3, now(), $4
FROM task_instance ti
JOIN dag_run run ON run.dag_id = ti.dag_id AND run.run_id = ti.run_id
WHERE ti.id = $1
ON CONFLICT (dag_run_id, task_id, map_index, key)
DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at, expires_at = excluded.expires_at
