-- The questions of task instances.
SELECT
    ti_id, options, subject, body, defaults, multiple, params, assignees, responded_at, responded_by, chosen_options,
    params_input
FROM hitl_detail
WHERE ti_id = ANY ($1)
