WITH chosen AS (
    SELECT id
    FROM callback
    WHERE type = 'dag_processor' AND bundle_name = ANY($1)
    ORDER BY priority_weight DESC, created_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)

DELETE FROM callback USING chosen WHERE callback.id = chosen.id RETURNING callback.bundle_name, callback.data
