-- Runs of a Dag by their dates or partitions.
SELECT id, run_id, logical_date, partition_date, partition_key, start_date, state
FROM dag_run
WHERE
    dag_id = $1
    AND (logical_date = ANY($2) OR partition_date = ANY($3) OR partition_key = ANY($4))
ORDER BY id
