-- Queued runs that `max_active_runs` (of the Dag or of the backfill) has room for, the longest waiting first, as many
-- per Dag as fit, and when the timetable expected them. One that another scheduler holds is passed over: who holds a Dag
-- waits for no run.
WITH running AS (
    SELECT dag_id, backfill_id, count(*) AS runs
    FROM dag_run
    WHERE state = 'running' AND dag_id = ANY ($2)
    GROUP BY dag_id, backfill_id
),
waiting AS (
    SELECT
        dag_run.id, dag_run.dag_id, dag_run.run_after, backfill_dag_run.sort_ordinal,
        CASE
            WHEN dag.timetable_periodic AND dag_run.run_type <> 'manual' AND dag_run.clear_number < 1
                AND dag_run.triggered_by IS DISTINCT FROM 'ASSET'
            THEN dag_run.run_after
        END AS expected,
        row_number() OVER (
            PARTITION BY dag_run.dag_id, dag_run.backfill_id
            ORDER BY backfill_dag_run.sort_ordinal NULLS FIRST, dag_run.run_after, dag_run.id
        ) AS place,
        coalesce(backfill.max_active_runs, dag.max_active_runs, 0) - coalesce(running.runs, 0) AS room
    FROM dag_run
    JOIN dag ON dag.dag_id = dag_run.dag_id
    LEFT JOIN backfill ON backfill.id = dag_run.backfill_id
    LEFT JOIN backfill_dag_run
        ON backfill_dag_run.dag_run_id = dag_run.id AND backfill_dag_run.backfill_id = dag_run.backfill_id
    LEFT JOIN running
        ON running.dag_id = dag_run.dag_id AND running.backfill_id IS NOT DISTINCT FROM dag_run.backfill_id
    WHERE dag_run.state = 'queued'
      AND dag_run.dag_id = ANY ($2)
      AND dag_run.run_after <= $1
      AND NOT coalesce(backfill.is_paused, false)
)
SELECT waiting.id, waiting.dag_id, waiting.expected
FROM waiting
JOIN dag_run ON dag_run.id = waiting.id
WHERE waiting.place <= waiting.room
ORDER BY waiting.sort_ordinal NULLS FIRST, waiting.run_after, waiting.id
FOR NO KEY UPDATE OF dag_run SKIP LOCKED
