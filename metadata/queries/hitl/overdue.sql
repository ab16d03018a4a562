-- Task instances whose question was not answered in time. One that another scheduler looks at is passed over.
SELECT id, next_kwargs
FROM task_instance
WHERE state = 'awaiting_input' AND trigger_timeout < $1
ORDER BY id
LIMIT $2
FOR UPDATE SKIP LOCKED
