-- Stores a value for a task instance.
INSERT INTO task_state_store (dag_run_id, dag_id, run_id, task_id, map_index, key, value, updated_at, expires_at)
SELECT id, dag_id, run_id, $3, $4, $5, $6, $7, $8
FROM dag_run
WHERE dag_id = $1 AND run_id = $2
ON CONFLICT (dag_run_id, task_id, map_index, key)
DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at, expires_at = excluded.expires_at
