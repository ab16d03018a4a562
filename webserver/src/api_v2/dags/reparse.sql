-- Airflow's id of a request is the hash of what it asks for, so that asking twice is asking once.
INSERT INTO dag_priority_parsing_request (id, bundle_name, relative_fileloc)
VALUES (md5($1 || ':' || $2), $1, $2)
ON CONFLICT (id) DO NOTHING
