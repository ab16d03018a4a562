-- The runs of a Dag ($1) by id ($2), by partition ($3), or ($4) by partition dates from $5 to $6; held, for a scheduler
-- holds a run before its task instances, too.
SELECT id, run_id, partition_key IS NOT NULL OR partition_date IS NOT NULL AS has_partition
FROM dag_run
WHERE dag_id = $1
  AND ($2::text IS NULL OR run_id = $2)
  AND ($3::text IS NULL OR partition_key = $3)
  AND (
      NOT $4
      OR (
          (partition_key IS NOT NULL OR partition_date IS NOT NULL)
          AND ($5::timestamptz IS NULL OR partition_date >= $5)
          AND ($6::timestamptz IS NULL OR partition_date <= $6)
      )
  )
ORDER BY run_id
FOR NO KEY UPDATE
