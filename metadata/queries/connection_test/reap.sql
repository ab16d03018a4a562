-- Ends tests that nobody ended within $1 seconds and $2 seconds of grace (`_reap_stale_connection_tests`).
UPDATE connection_test_request
SET
    result_message = CASE state
        WHEN 'pending' THEN 'Connection test expired in PENDING before any executor picked it up'
        WHEN 'queued' THEN 'Connection test was queued but never started before timeout'
        ELSE 'Connection test timed out'
    END || ' (exceeded ' || $1::int || 's + ' || $2::int || 's grace)',
    state = 'failed',
    active_connection_id = NULL,
    updated_at = now()
WHERE state IN ('pending', 'queued', 'running') AND updated_at < now() - make_interval(secs => $1::int + $2::int)
