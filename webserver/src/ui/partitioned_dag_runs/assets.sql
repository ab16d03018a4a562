-- The assets that the Dags ($1) wait for.
SELECT r.dag_id, a.id, a.name, a.uri, active.name IS NULL AS is_inactive
FROM dag_schedule_asset_reference r
JOIN asset a ON a.id = r.asset_id
LEFT JOIN asset_active active ON active.name = a.name AND active.uri = a.uri
WHERE r.dag_id = ANY($1)
ORDER BY a.uri
