-- Stores a value, replacing what the task instance pushed under the same key before.
INSERT INTO xcom (dag_run_id, dag_id, run_id, task_id, map_index, key, value, dag_result, timestamp)
SELECT d.id, d.dag_id, d.run_id, $3, $5, $4, $6, $7, now()
FROM dag_run d
WHERE d.dag_id = $1 AND d.run_id = $2
ON CONFLICT (dag_run_id, task_id, map_index, key)
DO UPDATE SET value = excluded.value, dag_result = excluded.dag_result, timestamp = excluded.timestamp
