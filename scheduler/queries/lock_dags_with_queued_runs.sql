-- Dags with a queued run whose time has come; held, so that `max_active_runs` is counted by one scheduler at a time.
SELECT dag_id
FROM dag
WHERE NOT is_paused
  AND NOT is_stale
  AND EXISTS (
      SELECT FROM dag_run WHERE dag_run.dag_id = dag.dag_id AND dag_run.state = 'queued' AND dag_run.run_after <= $1
  )
ORDER BY dag_id
FOR NO KEY UPDATE OF dag SKIP LOCKED
