-- Takes tests that wait, the oldest first, as long as fewer than $1 are under way.
UPDATE connection_test_request AS test
SET state = 'running', updated_at = now()
FROM (
    SELECT id
    FROM connection_test_request
    WHERE state = 'pending'
    ORDER BY created_at
    LIMIT greatest(0, $1 - (SELECT count(*) FROM connection_test_request WHERE state IN ('queued', 'running')))
    FOR UPDATE SKIP LOCKED
) AS taken
WHERE test.id = taken.id
RETURNING
    test.id, test.connection_id, test.conn_type, test.host, test.login, test.password, test.schema, test.port, test.extra,
    test.is_encrypted, test.is_extra_encrypted
