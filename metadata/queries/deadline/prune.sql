-- Removes the deadlines that a run ($1) met by its end ($2), with their callbacks.
WITH met AS (
    DELETE FROM deadline
    WHERE dagrun_id = $1 AND NOT missed AND deadline_time >= $2
    RETURNING callback_id
)
DELETE FROM callback USING met WHERE callback.id = met.callback_id
