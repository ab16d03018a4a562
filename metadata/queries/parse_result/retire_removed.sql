-- $1 bundle, $2 the files it has.
WITH gone AS (
    SELECT dag_id
    FROM dag
    WHERE bundle_name = $1
        AND NOT is_stale
        AND (relative_fileloc IS NULL OR relative_fileloc <> ALL($2))
    ORDER BY dag_id
    FOR NO KEY UPDATE
)

UPDATE dag SET is_stale = true FROM gone WHERE dag.dag_id = gone.dag_id RETURNING dag.dag_id
