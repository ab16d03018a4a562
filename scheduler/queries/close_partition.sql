-- A waiting partition ($1) has got its run ($2), which stands for all events that it received.
WITH closed AS (
    UPDATE asset_partition_dag_run SET created_dag_run_id = $2, updated_at = $3 WHERE id = $1
)
INSERT INTO dagrun_asset_event (dag_run_id, event_id)
SELECT DISTINCT $2, event.id
FROM partitioned_asset_key_log AS log
JOIN asset_event AS event ON event.id = log.asset_event_id
WHERE log.asset_partition_dag_run_id = $1
