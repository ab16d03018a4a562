-- Stores a value for an asset ($1), written by an attempt ($4).
INSERT INTO asset_state_store (
    asset_id, key, value, updated_at, last_updated_by_kind, last_updated_by_dag_id, last_updated_by_run_id,
    last_updated_by_task_id, last_updated_by_map_index
)
SELECT $1, $2, $3, now(), 'task', dag_id, run_id, task_id, map_index
FROM task_instance
WHERE id = $4
ON CONFLICT (asset_id, key)
DO UPDATE SET
    value = excluded.value,
    updated_at = excluded.updated_at,
    last_updated_by_kind = excluded.last_updated_by_kind,
    last_updated_by_dag_id = excluded.last_updated_by_dag_id,
    last_updated_by_run_id = excluded.last_updated_by_run_id,
    last_updated_by_task_id = excluded.last_updated_by_task_id,
    last_updated_by_map_index = excluded.last_updated_by_map_index
