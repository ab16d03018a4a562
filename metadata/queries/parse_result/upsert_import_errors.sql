-- $1 bundle, $2 files, $3 texts, $4 now. The table has no unique key.
WITH current AS (
    SELECT * FROM unnest($2::text[], $3::text[]) AS current (filename, stacktrace)
),

updated AS (
    UPDATE import_error AS stored
    SET stacktrace = current.stacktrace, "timestamp" = $4
    FROM current
    WHERE stored.bundle_name = $1 AND stored.filename = current.filename
    RETURNING stored.filename
)

INSERT INTO import_error (bundle_name, filename, stacktrace, "timestamp")
SELECT $1, current.filename, current.stacktrace, $4
FROM current
WHERE current.filename NOT IN (SELECT updated.filename FROM updated)
