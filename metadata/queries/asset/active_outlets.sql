-- The active assets among outlets: by name and URI ($1, $2), by name ($3), by URI ($4). An asset comes up once for
-- each of the three ways it is meant.
SELECT asset.id, asset.name, asset.uri
FROM asset
JOIN asset_active USING (name, uri)
CROSS JOIN LATERAL (
    SELECT 1 WHERE (asset.name, asset.uri) IN (SELECT n, u FROM unnest($1::text[], $2::text[]) AS named (n, u))
    UNION ALL
    SELECT 2 WHERE asset.name = ANY($3::text[])
    UNION ALL
    SELECT 3 WHERE asset.uri = ANY($4::text[])
) AS way (ordinal)
WHERE asset.name = ANY($1::text[] || $3::text[]) OR asset.uri = ANY($4::text[])
ORDER BY way.ordinal, asset.id
