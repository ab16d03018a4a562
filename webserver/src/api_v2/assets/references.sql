SELECT asset_id, 'schedule' AS kind, dag_id, NULL AS task_id, created_at, updated_at
FROM dag_schedule_asset_reference
WHERE asset_id = ANY($1)
UNION ALL
SELECT asset_id, 'outlet', dag_id, task_id, created_at, updated_at
FROM task_outlet_asset_reference
WHERE asset_id = ANY($1)
UNION ALL
SELECT asset_id, 'inlet', dag_id, task_id, created_at, updated_at
FROM task_inlet_asset_reference
WHERE asset_id = ANY($1)
ORDER BY dag_id, task_id
