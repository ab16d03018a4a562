-- How many seconds after it was due, and after it was queued, the first task of a run started; for runs that a periodic
-- timetable made and nobody cleared.
SELECT
    extract(epoch FROM min(ti.start_date) - dag_run.run_after)::float8,
    extract(epoch FROM min(ti.start_date) - dag_run.queued_at)::float8
FROM dag_run
JOIN dag ON dag.dag_id = dag_run.dag_id AND dag.timetable_periodic
JOIN task_instance ti ON ti.dag_id = dag_run.dag_id AND ti.run_id = dag_run.run_id
WHERE dag_run.id = $1 AND dag_run.run_type = 'scheduled' AND dag_run.clear_number = 0
GROUP BY dag_run.id
