-- What a run ($1; $2: now) shares with other runs, and who lives.
SELECT
    dag.max_active_runs, dag.max_active_tasks, coalesce(dag.has_import_errors, false) AS has_import_errors,
    backfill.is_paused AS backfill_is_paused, backfill.max_active_runs AS backfill_max_active_runs,
    (
        SELECT count(*)
        FROM dag_run AS other
        WHERE other.dag_id = dag_run.dag_id
          AND other.state = 'running'
          AND other.backfill_id IS NOT DISTINCT FROM dag_run.backfill_id
    ) AS running_runs,
    (
        SELECT count(*)
        FROM dag_run AS other
        LEFT JOIN backfill_dag_run AS place
            ON place.dag_run_id = other.id AND place.backfill_id = other.backfill_id
        WHERE other.dag_id = dag_run.dag_id
          AND other.state = 'queued'
          AND other.run_after <= $2
          AND other.backfill_id IS NOT DISTINCT FROM dag_run.backfill_id
          AND (coalesce(place.sort_ordinal, -1), other.run_after, other.id)
              < (coalesce(own_place.sort_ordinal, -1), dag_run.run_after, dag_run.id)
    ) AS queued_runs_before,
    (
        SELECT count(*)
        FROM task_instance
        JOIN tradewind.priority_weight AS wanted ON wanted.ti_id = task_instance.id
        WHERE task_instance.dag_id = dag_run.dag_id AND task_instance.run_id = dag_run.run_id
    ) AS unweighed,
    (SELECT max(latest_heartbeat) FROM job WHERE job_type = 'SchedulerJob') AS scheduler_heartbeat,
    (SELECT max(latest_heartbeat) FROM job WHERE job_type = 'SchedulerJob' AND state = 'running') AS live_scheduler,
    (SELECT max(latest_heartbeat) FROM job WHERE job_type = 'TriggererJob') AS triggerer_heartbeat,
    (SELECT max(latest_heartbeat) FROM job WHERE job_type = 'TriggererJob' AND state = 'running') AS live_triggerer
FROM dag_run
JOIN dag ON dag.dag_id = dag_run.dag_id
LEFT JOIN backfill ON backfill.id = dag_run.backfill_id
LEFT JOIN backfill_dag_run AS own_place
    ON own_place.dag_run_id = dag_run.id AND own_place.backfill_id = dag_run.backfill_id
WHERE dag_run.id = $1
