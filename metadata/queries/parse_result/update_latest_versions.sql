-- The parameters of insert_versions.sql; the versions exist, $2 and $3 are not used.
WITH new AS (
    SELECT *
    FROM unnest($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::jsonb[], $6::bytea[], $7::text[])
        AS new (version_id, number, id, dag_id, data, data_compressed, dag_hash)
),

version AS (
    UPDATE dag_version
    SET bundle_name = $8, bundle_version = $9, last_updated = $10
    FROM new
    WHERE dag_version.id = new.version_id
        AND (dag_version.bundle_name, dag_version.bundle_version) IS DISTINCT FROM ($8, $9)
)

UPDATE serialized_dag
SET data = new.data, data_compressed = new.data_compressed, dag_hash = new.dag_hash, last_updated = $10
FROM new
WHERE serialized_dag.dag_version_id = new.version_id
