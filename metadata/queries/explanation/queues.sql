-- Queues as their workers tell; $2: who was last heard of before is not alive.
SELECT
    queue,
    count(*) FILTER (WHERE last_heartbeat >= $2) AS workers,
    coalesce(sum(slots) FILTER (WHERE last_heartbeat >= $2), 0)::bigint AS slots,
    coalesce(sum(running) FILTER (WHERE last_heartbeat >= $2), 0)::bigint AS running,
    max(last_heartbeat) AS last_heartbeat
FROM tradewind.worker
CROSS JOIN LATERAL unnest(queues) AS queue
WHERE queue = ANY ($1) AND takes
GROUP BY queue
