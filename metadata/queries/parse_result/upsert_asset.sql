INSERT INTO asset (name, uri, "group", extra, created_at, updated_at)
SELECT declared.name, declared.uri, declared."group", declared.extra, $5, $5
FROM unnest($1::text[], $2::text[], $3::text[], $4::json[]) AS declared (name, uri, "group", extra)
ORDER BY declared.name, declared.uri
ON CONFLICT (name, uri) DO UPDATE SET
    "group" = EXCLUDED."group",
    extra = EXCLUDED.extra,
    updated_at = EXCLUDED.updated_at
