-- Queues as their workers tell, `*` being all of them; $2: who was last heard of before is not alive.
SELECT
    wanted.queue,
    count(*) FILTER (WHERE worker.last_heartbeat >= $2) AS workers,
    coalesce(sum(worker.slots) FILTER (WHERE worker.last_heartbeat >= $2), 0)::bigint AS slots,
    coalesce(sum(worker.running) FILTER (WHERE worker.last_heartbeat >= $2), 0)::bigint AS running,
    max(worker.last_heartbeat) AS last_heartbeat
FROM unnest($1::text[]) AS wanted (queue)
JOIN tradewind.worker ON worker.queues && ARRAY[wanted.queue, '*']
WHERE worker.takes
GROUP BY wanted.queue
