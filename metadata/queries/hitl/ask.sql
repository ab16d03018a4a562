-- Stores a question, or takes the answer from the one the task instance put before.
INSERT INTO hitl_detail (ti_id, options, subject, body, defaults, multiple, params, assignees, created_at, params_input)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now(), '{}')
ON CONFLICT (ti_id) DO UPDATE
SET responded_by = NULL, responded_at = NULL, chosen_options = NULL, params_input = '{}'
WHERE hitl_detail.responded_at IS NOT NULL
