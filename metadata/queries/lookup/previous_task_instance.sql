-- The task instance of the last run before a logical date ($4, none for the last run of all) in a state ($5, none for
-- any). Without a date, a run that has no logical date counts as the latest: Postgres sorts it so in Airflow's query, too.
SELECT
    ti.task_id, dag_id, run_id, run.logical_date, ti.start_date, ti.end_date, ti.state, ti.try_number, ti.map_index,
    ti.duration
FROM task_instance ti
JOIN dag_run run USING (dag_id, run_id)
WHERE dag_id = $1
    AND ti.task_id = $2
    AND ti.map_index = $3
    AND ($4::timestamptz IS NULL OR run.logical_date < $4)
    AND ($5::text IS NULL OR ti.state = $5)
ORDER BY run.logical_date DESC
LIMIT 1
