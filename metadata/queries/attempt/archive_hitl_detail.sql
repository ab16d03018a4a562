-- Copies the question that an attempt ($1) put to a person into the history of the attempt.
INSERT INTO hitl_detail_history (
    ti_history_id, options, subject, body, defaults, multiple, params, assignees, created_at, responded_at,
    responded_by, chosen_options, params_input
)
SELECT
    ti_id, options, subject, body, defaults, multiple, params, assignees, created_at, responded_at,
    responded_by, chosen_options, params_input
FROM hitl_detail
WHERE ti_id = $1
ON CONFLICT (ti_history_id) DO NOTHING
