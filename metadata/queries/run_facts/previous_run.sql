-- The run before: the greatest earlier logical date; with catchup among runs that are not manual.
SELECT id, run_id, logical_date
FROM dag_run
WHERE dag_id = $1 AND logical_date < $2 AND ($3 OR run_type <> 'manual')
ORDER BY logical_date DESC
LIMIT 1
