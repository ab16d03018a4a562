-- Deferred task instances whose trigger did not fire in time. One that another scheduler looks at is passed over.
SELECT id
FROM task_instance
WHERE state = 'deferred' AND trigger_timeout < $1
ORDER BY id
LIMIT $2
FOR UPDATE SKIP LOCKED
