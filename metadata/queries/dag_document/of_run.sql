-- The stored Dag of a run: of the version it is pinned to, else the latest.
SELECT stored.data::text, stored.data_compressed
FROM dag_run run
JOIN LATERAL (
    SELECT version.id
    FROM dag_version version
    WHERE version.dag_id = run.dag_id
        AND (
            version.id = run.created_dag_version_id
            OR coalesce(run.bundle_version, '') = ''
            OR run.created_dag_version_id IS NULL
        )
    ORDER BY
        (version.id = run.created_dag_version_id AND coalesce(run.bundle_version, '') <> '') DESC NULLS LAST,
        version.version_number DESC
    LIMIT 1
) version ON true
JOIN serialized_dag stored ON stored.dag_version_id = version.id
WHERE run.id = $1
