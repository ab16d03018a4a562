-- Pauses a Dag whose last runs all failed (`max_consecutive_failed_dag_runs`).
UPDATE dag
SET is_paused = true
WHERE dag_id = $1
  AND $2 = (
      SELECT count(*) FILTER (WHERE last_runs.state = 'failed')
      FROM (
          SELECT state FROM dag_run WHERE dag_run.dag_id = $1 ORDER BY run_after DESC, id DESC LIMIT $2
      ) AS last_runs
  )
