-- Counts a clear of a run. With a version of the Dag ($4) the run moves to it, and to the bundle version that the Dag was
-- last parsed from ($5: unless the Dag does not pin its runs).
UPDATE dag_run
SET clear_number = clear_number + 1,
    queued_at = $2,
    context_carrier = $3,
    updated_at = $2,
    last_scheduling_decision = CASE WHEN state IN ('success', 'failed') THEN NULL ELSE last_scheduling_decision END,
    created_dag_version_id = coalesce($4, created_dag_version_id),
    bundle_version = CASE
        WHEN $4 IS NULL OR NOT $5 THEN bundle_version
        WHEN state NOT IN ('success', 'failed') AND created_dag_version_id = $4 THEN bundle_version
        ELSE coalesce((SELECT dag.bundle_version FROM dag WHERE dag.dag_id = dag_run.dag_id), bundle_version)
    END
WHERE id = $1
