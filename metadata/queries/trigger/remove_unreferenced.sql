-- Triggers that nothing refers to: neither a task instance nor an asset watcher nor a callback.
DELETE FROM trigger
WHERE id IN (
    SELECT trigger.id
    FROM trigger
    WHERE NOT EXISTS (SELECT FROM task_instance WHERE task_instance.trigger_id = trigger.id)
      AND NOT EXISTS (SELECT FROM asset_watcher WHERE asset_watcher.trigger_id = trigger.id)
      AND NOT EXISTS (SELECT FROM callback WHERE callback.trigger_id = trigger.id)
    ORDER BY trigger.id
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
