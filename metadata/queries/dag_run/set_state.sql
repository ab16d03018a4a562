-- Changes the state of Dag runs that are still in one of the states given, with the dates that follow from it
-- (`DagRun.set_state` of Airflow).
UPDATE dag_run
SET state = $2,
    queued_at = CASE WHEN $2 = 'queued' THEN $4 ELSE queued_at END,
    start_date = CASE
        WHEN state = $2 THEN start_date
        WHEN $2 = 'queued' THEN NULL
        WHEN $2 = 'running' AND state IN ('success', 'failed') THEN $4
        WHEN $2 = 'running' THEN coalesce(start_date, $4)
        ELSE start_date
    END,
    end_date = CASE
        WHEN state = $2 THEN end_date
        WHEN $2 IN ('queued', 'running') THEN NULL
        WHEN state IN ('queued', 'running') THEN $4
        ELSE end_date
    END,
    updated_at = CASE WHEN state = $2 AND $2 <> 'queued' THEN updated_at ELSE $4 END
WHERE id = ANY ($1) AND state = ANY ($3)
RETURNING id
