UPDATE dag
SET next_dagrun = $2,
    next_dagrun_data_interval_start = $3,
    next_dagrun_data_interval_end = $4,
    next_dagrun_partition_key = $5,
    next_dagrun_partition_date = $6,
    next_dagrun_create_after = $7
WHERE dag_id = $1
