DELETE FROM tradewind.bundle_snapshot snapshot
WHERE snapshot.bundle_name = $1
    AND NOT EXISTS (
        SELECT FROM dag_bundle bundle WHERE bundle.name = $1 AND bundle.version = snapshot.version
    )
    AND NOT EXISTS (
        SELECT FROM dag WHERE dag.bundle_name = $1 AND dag.bundle_version = snapshot.version
    )
    AND NOT EXISTS (SELECT FROM dag_run run WHERE run.bundle_version = snapshot.version)
    AND snapshot.version NOT IN (
        SELECT newest.version FROM tradewind.bundle_snapshot newest
        WHERE newest.bundle_name = $1
        ORDER BY newest.current_since DESC
        LIMIT $2
    )
