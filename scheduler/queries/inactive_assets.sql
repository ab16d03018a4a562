-- Assets that are named but not active, with what stands in their way: the URI that is active under their name, the name
-- that is active under their URI.
SELECT asset.id, asset.name, asset.uri, asset."group", same_name.uri AS active_uri, same_uri.name AS active_name
FROM asset
LEFT JOIN asset_active AS same_name ON same_name.name = asset.name
LEFT JOIN asset_active AS same_uri ON same_uri.uri = asset.uri
WHERE NOT EXISTS (SELECT FROM asset_active AS a WHERE a.name = asset.name AND a.uri = asset.uri)
  AND (
      EXISTS (SELECT FROM dag_schedule_asset_reference AS r WHERE r.asset_id = asset.id)
      OR EXISTS (SELECT FROM task_outlet_asset_reference AS r WHERE r.asset_id = asset.id)
      OR EXISTS (SELECT FROM task_inlet_asset_reference AS r WHERE r.asset_id = asset.id)
      OR EXISTS (SELECT FROM asset_alias_asset AS r WHERE r.asset_id = asset.id)
  )
ORDER BY asset.id
