-- A new backfill.
INSERT INTO backfill (
    dag_id, from_date, to_date, dag_run_conf, reprocess_behavior, max_active_runs, created_at, updated_at,
    triggering_user_name, is_paused
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, FALSE)
RETURNING id
