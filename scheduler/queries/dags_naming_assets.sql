-- The Dags that name assets ($1), once for every way: as their schedule, as an outlet, as an inlet.
SELECT asset_id, dag_id
FROM (
    SELECT 1 AS way, asset_id, dag_id FROM dag_schedule_asset_reference
    UNION ALL
    SELECT 2, asset_id, dag_id FROM task_outlet_asset_reference
    UNION ALL
    SELECT 3, asset_id, dag_id FROM task_inlet_asset_reference
) AS reference
WHERE asset_id = ANY ($1)
ORDER BY dag_id, asset_id, way
