-- Assets that no Dag, no task and no alias names any more are no longer active.
DELETE FROM asset_active
USING asset
WHERE asset.name = asset_active.name
  AND asset.uri = asset_active.uri
  AND NOT EXISTS (SELECT FROM dag_schedule_asset_reference AS r WHERE r.asset_id = asset.id)
  AND NOT EXISTS (SELECT FROM task_outlet_asset_reference AS r WHERE r.asset_id = asset.id)
  AND NOT EXISTS (SELECT FROM task_inlet_asset_reference AS r WHERE r.asset_id = asset.id)
  AND NOT EXISTS (SELECT FROM asset_alias_asset AS r WHERE r.asset_id = asset.id)
