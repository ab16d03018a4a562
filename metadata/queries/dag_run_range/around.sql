-- A run ($2) with those that have an earlier ($3) or a later ($4) logical date; nothing when it has none itself.
SELECT run.run_id, run.logical_date
FROM dag_run AS centre
JOIN dag_run AS run
    ON run.dag_id = centre.dag_id
    AND (run.logical_date = centre.logical_date
        OR ($3 AND run.logical_date < centre.logical_date)
        OR ($4 AND run.logical_date > centre.logical_date))
WHERE centre.dag_id = $1 AND centre.run_id = $2
ORDER BY run.logical_date
