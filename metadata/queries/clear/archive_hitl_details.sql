-- Copies the questions that attempts ($1) put to people into the history of those attempts that were archived.
INSERT INTO hitl_detail_history (
    ti_history_id, options, subject, body, defaults, multiple, params, assignees, created_at, responded_at,
    responded_by, chosen_options, params_input
)
SELECT
    ti_id, options, subject, body, defaults, multiple, params, assignees, created_at, responded_at,
    responded_by, chosen_options, params_input
FROM hitl_detail
WHERE ti_id IN (SELECT task_instance_id FROM task_instance_history WHERE task_instance_id = ANY ($1))
ON CONFLICT (ti_history_id) DO NOTHING
