-- Stores a test of a connection. `active_connection_id` is unique: there is one test at a time.
INSERT INTO connection_test_request (
    id, token, connection_id, active_connection_id, state, created_at, updated_at, conn_type, host, login, password,
    schema, port, extra, commit_on_success, executor, queue, is_encrypted, is_extra_encrypted, team_name
)
VALUES ($1, $2, $3, $3, 'pending', now(), now(), $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
