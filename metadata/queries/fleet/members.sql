-- The workers of a fleet, and what they last said of themselves; those that were silent for longer than $1 seconds say nothing.
SELECT
    member.id, member.queue, member.handle, member.was_seen, member.asked,
    extract(epoch FROM now() - member.launched_at)::float8 AS age,
    extract(epoch FROM now() - member.asked_at)::float8 AS asked_for,
    worker.id IS NOT NULL AS lives,
    coalesce(worker.takes, FALSE) AS takes,
    coalesce(worker.running, 0) AS running
FROM tradewind.fleet_worker member
LEFT JOIN tradewind.worker
    ON worker.id = member.id AND worker.last_heartbeat > now() - make_interval(secs => $1)
WHERE member.driver = $2
ORDER BY member.launched_at DESC, member.id
