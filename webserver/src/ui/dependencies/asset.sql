-- An asset ($1) and the Dags that make it, read it or are scheduled by it.
SELECT
    a.name,
    ARRAY(
        SELECT dag_id::text FROM task_outlet_asset_reference WHERE asset_id = a.id
        UNION
        SELECT dag_id::text FROM task_inlet_asset_reference WHERE asset_id = a.id
        UNION
        SELECT dag_id::text FROM dag_schedule_asset_reference WHERE asset_id = a.id
    ) AS dag_ids
FROM asset a
WHERE a.id = $1
