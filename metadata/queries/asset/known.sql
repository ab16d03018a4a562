-- What references to names ($1) and URIs ($2) mean, and where aliases ($3) have led to.
SELECT 'name' AS kind, name AS referred, name, uri
FROM asset_active
WHERE name = ANY ($1::text[])
UNION ALL
SELECT 'uri', uri, name, uri
FROM asset_active
WHERE uri = ANY ($2::text[])
UNION ALL
SELECT 'alias', alias.name, asset.name, asset.uri
FROM asset_alias AS alias
JOIN asset_alias_asset AS link ON link.alias_id = alias.id
JOIN asset ON asset.id = link.asset_id
WHERE alias.name = ANY ($3::text[])
