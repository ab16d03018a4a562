-- What decides whether a run is made of a Dag.
SELECT
    dag.is_paused, dag.is_stale, coalesce(dag.has_import_errors, false) AS has_import_errors,
    coalesce(dag.max_active_runs, 0)::bigint AS max_active_runs, dag.max_active_tasks::bigint AS max_active_tasks,
    dag.timetable_summary, dag.asset_expression::jsonb AS asset_condition, dag.next_dagrun_create_after,
    -- No restriction is stored as SQL's or as JSON's null.
    jsonb_typeof(dag.allowed_run_types::jsonb) IS DISTINCT FROM 'array'
        OR dag.allowed_run_types::jsonb ? 'scheduled' AS may_be_scheduled,
    NOT EXISTS (SELECT FROM serialized_dag WHERE serialized_dag.dag_id = dag.dag_id) AS was_never_serialized,
    (
        SELECT count(*)
        FROM dag_run
        WHERE dag_run.dag_id = dag.dag_id AND dag_run.state IN ('queued', 'running') AND dag_run.run_type <> 'backfill'
    ) AS active_runs,
    (SELECT max(latest_heartbeat) FROM job WHERE job_type = 'SchedulerJob') AS scheduler_heartbeat,
    (SELECT max(latest_heartbeat) FROM job WHERE job_type = 'SchedulerJob' AND state = 'running') AS live_scheduler
FROM dag
WHERE dag.dag_id = $1
