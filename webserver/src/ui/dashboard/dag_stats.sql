-- A Dag counts as failed when its latest run by logical date failed.
SELECT
    count(*) FILTER (WHERE NOT d.is_paused) AS active_dag_count,
    count(*) FILTER (
        WHERE (
            SELECT dr.state
            FROM dag_run dr
            WHERE dr.dag_id = d.dag_id AND dr.logical_date IS NOT NULL
            ORDER BY dr.logical_date DESC
            LIMIT 1
        ) = 'failed'
    ) AS failed_dag_count,
    count(*) FILTER (
        WHERE EXISTS (SELECT FROM dag_run dr WHERE dr.dag_id = d.dag_id AND dr.state = 'running')
    ) AS running_dag_count,
    count(*) FILTER (
        WHERE EXISTS (SELECT FROM dag_run dr WHERE dr.dag_id = d.dag_id AND dr.state = 'queued')
    ) AS queued_dag_count
FROM dag d
WHERE NOT d.is_stale /* of: d.dag_id */
