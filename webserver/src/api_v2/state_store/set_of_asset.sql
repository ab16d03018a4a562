-- Stores a value for an asset ($1), written through the API.
INSERT INTO asset_state_store (asset_id, key, value, updated_at, last_updated_by_kind)
VALUES ($1, $2, $3, $4, 'api')
ON CONFLICT (asset_id, key)
DO UPDATE SET
    value = excluded.value,
    updated_at = excluded.updated_at,
    last_updated_by_kind = excluded.last_updated_by_kind,
    last_updated_by_dag_id = NULL,
    last_updated_by_run_id = NULL,
    last_updated_by_task_id = NULL,
    last_updated_by_map_index = NULL
