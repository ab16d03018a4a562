-- The compare-and-set of task-instance states. Rows are locked in the order of their ids, so that two batches never
-- wait for each other in a circle. A patch overlays the columns it names. What is held carries all that the update needs,
-- so that Postgres joins once. The plan is the same for any number of rows, and to make it takes longer than to follow it: in
-- subqueries Postgres does not count them, and keeps the plan.
WITH held AS (
    SELECT ti.id, w.sources, w.target, w.patch
    FROM task_instance ti
    JOIN unnest((SELECT $1::uuid[]), (SELECT $2::jsonb[]), (SELECT $3::text[]), (SELECT $4::jsonb[]))
        AS w (id, sources, target, patch) ON w.id = ti.id
    WHERE w.sources ? coalesce(ti.state, 'none')
    ORDER BY ti.id
    FOR UPDATE OF ti
),
changed AS (
    UPDATE task_instance ti
    SET state = w.target,
        updated_at = now(),
        (
            start_date, end_date, duration, try_number, max_tries, hostname, unixname, pid, queued_dttm,
            scheduled_dttm, queued_by_job_id, last_heartbeat_at, executor, external_executor_id, trigger_id,
            trigger_timeout, next_method, next_kwargs, retry_delay_override, retry_reason, rendered_map_index,
            map_index, pool, pool_slots, queue, priority_weight, dag_version_id, context_carrier
        ) = (
            SELECT
                p.start_date,
                p.end_date,
                CASE
                    WHEN w.patch ? 'duration' THEN p.duration
                    WHEN w.patch ? 'end_date' AND p.end_date IS NULL THEN ti.duration
                    WHEN w.patch ? 'end_date' THEN extract(epoch FROM p.end_date - p.start_date)::float8
                    ELSE ti.duration
                END,
                p.try_number, p.max_tries, p.hostname, p.unixname, p.pid, p.queued_dttm,
                p.scheduled_dttm, p.queued_by_job_id, p.last_heartbeat_at, p.executor, p.external_executor_id,
                p.trigger_id, p.trigger_timeout, p.next_method,
                CASE WHEN w.patch ? 'next_kwargs' THEN nullif(w.patch -> 'next_kwargs', 'null'::jsonb) ELSE ti.next_kwargs END,
                p.retry_delay_override, p.retry_reason, p.rendered_map_index,
                p.map_index, p.pool, p.pool_slots, p.queue, p.priority_weight, p.dag_version_id, p.context_carrier
            FROM jsonb_populate_record(ti, w.patch - 'next_kwargs') p
        )
    FROM held w
    WHERE ti.id = w.id AND w.sources ? coalesce(ti.state, 'none')
    RETURNING ti.id, ti.dag_id, ti.run_id
)
SELECT changed.id, dag_run.id AS dag_run_id
FROM changed
JOIN dag_run USING (dag_id, run_id)
