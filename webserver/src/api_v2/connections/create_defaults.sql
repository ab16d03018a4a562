-- Adds the connections of the lists $1…$8 whose id is free; $9: whether passwords and extra fields are encrypted.
INSERT INTO connection
    (conn_id, conn_type, host, login, password, schema, port, extra, is_encrypted, is_extra_encrypted)
SELECT
    conn_id, conn_type, host, login, password, schema, port, extra,
    password IS NOT NULL AND $9, extra IS NOT NULL AND $9
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[])
    WITH ORDINALITY
    AS proposed (conn_id, conn_type, host, login, password, schema, port, extra, ordinal)
ORDER BY ordinal
ON CONFLICT (conn_id) DO NOTHING
