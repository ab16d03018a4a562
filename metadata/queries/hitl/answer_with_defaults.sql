-- Takes the defaults of questions for the answer that nobody gave in time.
UPDATE hitl_detail
SET chosen_options = defaults, params_input = answer.params_input, responded_by = NULL, responded_at = $3
FROM unnest($1::uuid[], $2::jsonb[]) AS answer (ti_id, params_input)
WHERE hitl_detail.ti_id = answer.ti_id
