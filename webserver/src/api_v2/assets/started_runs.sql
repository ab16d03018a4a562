-- The runs that consumed events; the latest event that a run consumed is the one that triggered it. Runs that have not
-- started are left out, since the official document promises when they did.
SELECT
    consumed.event_id,
    dr.run_id,
    dr.dag_id,
    dr.logical_date,
    dr.start_date,
    dr.end_date,
    dr.state,
    dr.data_interval_start,
    dr.data_interval_end,
    dr.partition_key,
    consumed.event_id = (
        SELECT e.id
        FROM dagrun_asset_event other
        JOIN asset_event e ON e.id = other.event_id
        WHERE other.dag_run_id = dr.id
        ORDER BY e.timestamp DESC, e.id DESC
        LIMIT 1
    ) AS triggering
FROM dagrun_asset_event consumed
JOIN dag_run dr ON dr.id = consumed.dag_run_id
WHERE consumed.event_id = ANY($1) AND dr.start_date IS NOT NULL
ORDER BY dr.id
