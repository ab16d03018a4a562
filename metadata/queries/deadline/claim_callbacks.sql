-- Takes up to $2 callbacks of missed deadlines for $3 seconds that nobody has, of Dags in the bundles $1, the most urgent first.
-- What is left of a run that was deleted goes.
WITH orphaned AS (
    DELETE FROM tradewind.deadline_callback AS work
    WHERE NOT EXISTS (SELECT FROM callback WHERE callback.id = work.callback_id)
),
chosen AS (
    SELECT
        work.callback_id, dr.dag_id, dr.run_id, dr.bundle_version, dag.relative_fileloc,
        coalesce(dag.bundle_name, callback.bundle_name) AS bundle_name
    FROM tradewind.deadline_callback AS work
    JOIN callback ON callback.id = work.callback_id
    LEFT JOIN dag_run dr ON dr.id = (callback.data #>> '{__var,dag_run_id}')::integer
    LEFT JOIN dag ON dag.dag_id = dr.dag_id
    WHERE (work.claimed_until IS NULL OR work.claimed_until < now())
      AND coalesce(dag.bundle_name, callback.bundle_name, $1[1]) = ANY ($1)
    ORDER BY callback.priority_weight DESC, callback.created_at
    LIMIT $2
    FOR UPDATE OF work SKIP LOCKED
),
claimed AS (
    UPDATE tradewind.deadline_callback AS work
    SET claimed_until = now() + make_interval(secs => $3), attempts = work.attempts + 1
    FROM chosen
    WHERE work.callback_id = chosen.callback_id
    RETURNING work.attempts, chosen.*
),
started AS (
    UPDATE callback SET state = 'running' FROM claimed WHERE callback.id = claimed.callback_id
    RETURNING callback.id, callback.data::jsonb AS data
)
SELECT
    started.id, claimed.attempts, started.data,
    claimed.dag_id, claimed.run_id, claimed.bundle_version, claimed.bundle_name, claimed.relative_fileloc
FROM started
JOIN claimed ON claimed.callback_id = started.id
