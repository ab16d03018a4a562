-- $1 ids, $2 Dags, $3 files, $4 sources, $5 their hashes, $6 now. The code belongs to the newest version of the Dag.
INSERT INTO dag_code (id, dag_id, fileloc, created_at, last_updated, source_code, source_code_hash, dag_version_id)
SELECT new.id, new.dag_id, new.fileloc, $6, $6, new.source_code, new.source_code_hash, latest.id
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
    AS new (id, dag_id, fileloc, source_code, source_code_hash)
JOIN LATERAL (
    SELECT v.id FROM dag_version AS v WHERE v.dag_id = new.dag_id ORDER BY v.version_number DESC LIMIT 1
) AS latest ON true
ON CONFLICT (dag_version_id) DO UPDATE SET
    source_code = EXCLUDED.source_code,
    source_code_hash = EXCLUDED.source_code_hash,
    last_updated = EXCLUDED.last_updated
