-- Ends a test ($1) that is under way: whether it succeeded ($2) and what it said ($3). A connection that works is stored
-- where that was asked for; its secrets go over as they are, encrypted (`commit_to_connection_table`).
WITH ended AS (
    UPDATE connection_test_request
    SET
        state = CASE WHEN $2 THEN 'success' ELSE 'failed' END,
        result_message = left($3, 2000),
        active_connection_id = NULL,
        updated_at = now()
    WHERE id = $1 AND state = 'running'
    RETURNING *
)
INSERT INTO connection (
    conn_id, conn_type, host, login, password, schema, port, extra, is_encrypted, is_extra_encrypted, team_name
)
SELECT
    connection_id, conn_type, host, login, password, schema, port, extra, is_encrypted, is_extra_encrypted, team_name
FROM ended
WHERE $2 AND commit_on_success
ON CONFLICT (conn_id) DO UPDATE SET
    conn_type = excluded.conn_type,
    host = excluded.host,
    login = excluded.login,
    password = excluded.password,
    schema = excluded.schema,
    port = excluded.port,
    extra = excluded.extra,
    is_encrypted = excluded.is_encrypted,
    is_extra_encrypted = excluded.is_extra_encrypted
