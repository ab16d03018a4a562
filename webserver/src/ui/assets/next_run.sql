-- The assets that start a Dag ($1); the time of the latest event since the Dag's latest run counts while it is queued: for
-- the Dag, or ($2) for one of its partitions that wait.
SELECT
    a.id,
    a.name,
    a.uri,
    CASE
        WHEN
            CASE
                WHEN $2 THEN EXISTS (
                    SELECT
                    FROM partitioned_asset_key_log log
                    JOIN asset_partition_dag_run p ON p.id = log.asset_partition_dag_run_id
                    WHERE log.asset_id = a.id AND log.target_dag_id = $1 AND p.created_dag_run_id IS NULL
                )
                ELSE bool_or(q.asset_id IS NOT NULL)
            END
        THEN max(e.timestamp)
    END AS last_update,
    bool_and(active.name IS NULL) AS asset_inactive
FROM dag_schedule_asset_reference r
JOIN asset a ON a.id = r.asset_id
LEFT JOIN asset_event e
    ON e.asset_id = a.id
    AND e.timestamp >= COALESCE(
        (
            SELECT dr.logical_date FROM dag_run dr WHERE dr.dag_id = $1 ORDER BY dr.logical_date DESC NULLS LAST LIMIT 1
        ),
        '-infinity'
    )
LEFT JOIN asset_active active ON active.name = a.name AND active.uri = a.uri
LEFT JOIN asset_dag_run_queue q ON q.asset_id = a.id AND q.target_dag_id = r.dag_id
WHERE r.dag_id = $1
GROUP BY a.id, a.name, a.uri
ORDER BY a.uri
