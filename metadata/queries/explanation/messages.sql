-- How many messages come before each of those of some task instances, in its queue.
SELECT ti_id, before
FROM (
    SELECT ti_id, row_number() OVER (PARTITION BY queue ORDER BY priority_weight DESC, created_at) - 1 AS before
    FROM tradewind.outbox
    WHERE queue = ANY ($1)
) AS waiting
WHERE ti_id = ANY ($2)
