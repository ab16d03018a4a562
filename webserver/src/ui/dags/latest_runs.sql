-- The latest runs of each Dag, at most $2 of each, latest first.
SELECT latest.*
FROM unnest($1::text[]) AS wanted (dag_id)
CROSS JOIN LATERAL (
    SELECT id, dag_id, run_id, logical_date, run_after, start_date, end_date, state
    FROM dag_run
    WHERE dag_run.dag_id = wanted.dag_id
    ORDER BY run_after DESC
    LIMIT $2
) AS latest
ORDER BY latest.run_after DESC
