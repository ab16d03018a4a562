-- More of everything than `[api] maximum_page_limit` allows on a page: copies of what official Airflow wrote. Keys are
-- `many_1` to `many_130`; ids come after those that are there.
SET session_replication_role = replica;

CREATE TEMPORARY TABLE copies AS
SELECT number, format('many_%s', number) AS copy FROM generate_series(1, 130) AS number;

INSERT INTO dag SELECT (jsonb_populate_record(original, jsonb_build_object('dag_id', copy))).*
FROM dag AS original, copies WHERE dag_id = 'example_xcom';

INSERT INTO dag_run
SELECT (jsonb_populate_record(original, jsonb_build_object(
    'id', 100000 + number, 'run_id', copy, 'logical_date', original.logical_date + number * interval '1 minute'))).*
FROM dag_run AS original, copies WHERE dag_id = 'example_xcom' AND run_id = 'one';

INSERT INTO task_instance
SELECT (jsonb_populate_record(original, jsonb_build_object(
    'id', format('ffffffff-0000-7000-8000-%s', lpad(number::text, 12, '0')), 'map_index', number))).*
FROM task_instance AS original, copies
WHERE original.id =
    (SELECT id FROM task_instance WHERE dag_id = 'example_xcom' AND run_id = 'one' ORDER BY task_id LIMIT 1);

INSERT INTO xcom SELECT (jsonb_populate_record(original, jsonb_build_object('key', copy))).*
FROM xcom AS original, copies
WHERE (original.dag_id, original.run_id, task_id, original.key) =
    (SELECT dag_id, run_id, task_id, key FROM xcom
     WHERE dag_id = 'example_xcom' AND run_id = 'one' ORDER BY task_id, key LIMIT 1);

INSERT INTO asset
SELECT (jsonb_populate_record(original, jsonb_build_object('id', 100000 + number, 'name', copy, 'uri', copy))).*
FROM asset AS original, copies WHERE original.id = (SELECT min(id) FROM asset);

INSERT INTO asset_active SELECT (jsonb_populate_record(original, jsonb_build_object('name', copy, 'uri', copy))).*
FROM asset_active AS original, copies WHERE original.name = (SELECT min(name) FROM asset_active);

INSERT INTO asset_event SELECT (jsonb_populate_record(original, jsonb_build_object('id', 100000 + number))).*
FROM asset_event AS original, copies WHERE original.id = (SELECT min(id) FROM asset_event);

INSERT INTO import_error SELECT (jsonb_populate_record(original, jsonb_build_object('id', 100000 + number))).*
FROM import_error AS original, copies WHERE original.id = (SELECT min(id) FROM import_error);

INSERT INTO job SELECT (jsonb_populate_record(original, jsonb_build_object('id', 100000 + number))).*
FROM job AS original, copies WHERE original.id = (SELECT min(id) FROM job);

INSERT INTO log SELECT (jsonb_populate_record(original, jsonb_build_object('id', 100000 + number))).*
FROM log AS original, copies WHERE original.id = (SELECT min(id) FROM log);

INSERT INTO slot_pool
SELECT (jsonb_populate_record(original, jsonb_build_object('id', 100000 + number, 'pool', copy))).*
FROM slot_pool AS original, copies WHERE original.id = (SELECT min(id) FROM slot_pool);

INSERT INTO variable SELECT (jsonb_populate_record(original, jsonb_build_object('id', 100000 + number, 'key', copy))).*
FROM variable AS original, copies WHERE original.id = (SELECT min(id) FROM variable);

INSERT INTO connection
SELECT (jsonb_populate_record(original, jsonb_build_object('id', 100000 + number, 'conn_id', copy))).*
FROM connection AS original, copies WHERE original.id = (SELECT min(id) FROM connection);

SET session_replication_role = DEFAULT;
