SELECT version FROM dag_bundle WHERE name = $1 AND version IS NOT NULL
UNION
SELECT bundle_version FROM dag WHERE bundle_name = $1 AND bundle_version IS NOT NULL
UNION
SELECT run.bundle_version
FROM dag_run run
JOIN dag ON dag.dag_id = run.dag_id
WHERE dag.bundle_name = $1 AND run.bundle_version IS NOT NULL AND run.state IN ('queued', 'running')
UNION
(
    SELECT version FROM tradewind.bundle_snapshot
    WHERE bundle_name = $1
    ORDER BY current_since DESC
    LIMIT $2
)
