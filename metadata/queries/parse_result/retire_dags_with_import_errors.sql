-- $1 bundle, $2 files; $3 and $4 as in upsert_import_errors.sql, not used.
UPDATE dag
SET has_import_errors = true, is_stale = true
WHERE bundle_name = $1
    AND relative_fileloc = ANY($2)
    AND (has_import_errors IS NOT TRUE OR NOT is_stale)
    AND ($3::text[], $4::timestamptz) IS NOT NULL
