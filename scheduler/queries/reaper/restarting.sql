-- Task instances that were cleared while they ran, whose process has had time to end. One that another scheduler looks at
-- is passed over.
SELECT id
FROM task_instance
WHERE state = 'restarting' AND coalesce(last_heartbeat_at, updated_at, '-infinity') < $1
ORDER BY id
LIMIT 500
FOR UPDATE SKIP LOCKED
