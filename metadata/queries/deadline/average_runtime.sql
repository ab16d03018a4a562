-- How many of the last $2 successful runs of a Dag there are, and how many seconds they took on average.
SELECT count(*), avg(seconds)
FROM (
    SELECT extract(epoch FROM end_date - start_date)::float8 AS seconds
    FROM dag_run
    WHERE dag_id = $1 AND state = 'success' AND start_date IS NOT NULL AND end_date IS NOT NULL
    ORDER BY logical_date DESC
    LIMIT $2
) AS last_runs
