-- Task instances of a run that are scheduled or beyond and have not ended, with what they wait for.
SELECT
    ti.id, ti.state, ti.pool, ti.pool_slots, coalesce(ti.queue, 'default') AS queue, ti.queued_dttm, ti.hostname,
    ti.last_heartbeat_at, ti.updated_at, ti.trigger_timeout,
    trigger.classpath,
    hitl_detail.subject, hitl_detail.options::jsonb AS options, hitl_detail.assignees::jsonb AS assignees
FROM task_instance AS ti
LEFT JOIN trigger ON trigger.id = ti.trigger_id
LEFT JOIN hitl_detail ON hitl_detail.ti_id = ti.id AND hitl_detail.responded_at IS NULL
WHERE ti.dag_id = $1
  AND ti.run_id = $2
  AND ti.state IN ('scheduled', 'queued', 'running', 'restarting', 'deferred', 'awaiting_input')
