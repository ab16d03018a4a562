-- $1 bundles, $2 files, $3 the time before which a Dag of the file was last seen when it is stale. The members of an archive count as
-- the archive.
WITH unseen AS (
    SELECT dag.dag_id
    FROM dag
    JOIN dag_bundle AS bundle ON bundle.name = dag.bundle_name
    WHERE NOT dag.is_stale
        AND (
            bundle.active IS FALSE
            OR EXISTS (
                SELECT
                FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS parsed (bundle_name, path, seen_since)
                WHERE parsed.bundle_name = dag.bundle_name
                    AND (
                        parsed.path = dag.relative_fileloc
                        OR parsed.path LIKE '%.zip' AND starts_with(dag.relative_fileloc, parsed.path || '/')
                    )
                    AND dag.last_parsed_time < parsed.seen_since
            )
        )
    ORDER BY dag.dag_id
    FOR NO KEY UPDATE OF dag
)

UPDATE dag SET is_stale = true FROM unseen WHERE dag.dag_id = unseen.dag_id RETURNING dag.dag_id
