-- $1 seconds that a question must have waited, $2 how many are taken, $3 whether tests of connections are. A question that
-- is older than any patience was left by a process that died.
WITH forgotten AS (
    DELETE FROM tradewind.evaluation WHERE asked_at < now() - interval '10 minutes'
),

taken AS (
    SELECT id
    FROM tradewind.evaluation
    WHERE claimed_at IS NULL
        AND asked_at <= now() - make_interval(secs => $1)
        AND asked_at >= now() - interval '10 minutes'
        AND ($3 OR question ->> 'type' <> 'connection_test')
    ORDER BY asked_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)

UPDATE tradewind.evaluation AS evaluation
SET claimed_at = now()
FROM taken
WHERE evaluation.id = taken.id
RETURNING evaluation.id, evaluation.dag_id, evaluation.question
