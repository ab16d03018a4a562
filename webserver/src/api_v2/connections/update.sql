UPDATE connection
SET
    conn_type = COALESCE($2, conn_type),
    description = CASE WHEN $3 THEN $4 ELSE description END,
    host = CASE WHEN $5 THEN $6 ELSE host END,
    schema = CASE WHEN $7 THEN $8 ELSE schema END,
    login = CASE WHEN $9 THEN $10 ELSE login END,
    port = CASE WHEN $11 THEN $12 ELSE port END,
    password = CASE WHEN $13 THEN $14 ELSE password END,
    is_encrypted = CASE WHEN $13 THEN $14::text IS NOT NULL AND $17 ELSE is_encrypted END,
    extra = CASE WHEN $15 THEN $16 ELSE extra END,
    is_extra_encrypted = CASE WHEN $15 THEN $16::text IS NOT NULL AND $17 ELSE is_extra_encrypted END,
    team_name = CASE WHEN $18 THEN $19 ELSE team_name END
WHERE conn_id = $1
