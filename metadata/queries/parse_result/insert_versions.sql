-- $1 version ids, $2 their numbers, $3 ids of the serialized Dags, $4 Dags, $5 data, $6 compressed data, $7 hashes, $8 bundle, $9 its
-- version, $10 now.
WITH new AS (
    SELECT *
    FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::jsonb[], $6::bytea[], $7::text[])
        AS new (version_id, number, id, dag_id, data, data_compressed, dag_hash)
),

version AS (
    INSERT INTO dag_version (id, version_number, dag_id, bundle_name, bundle_version, version_data, created_at, last_updated)
    SELECT new.version_id, new.number, new.dag_id, $8, $9, 'null', $10, $10
    FROM new
    RETURNING id
)

INSERT INTO serialized_dag (id, dag_id, data, data_compressed, created_at, last_updated, dag_hash, dag_version_id)
SELECT new.id, new.dag_id, new.data, new.data_compressed, $10, $10, new.dag_hash, version.id
FROM new
JOIN version ON version.id = new.version_id
