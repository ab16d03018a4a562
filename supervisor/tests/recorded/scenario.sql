-- The state of the metadata database in which every recorded conversation starts. Read by record.py and by the tests.
--
-- Dag `pipeline` has three runs (2026-01-01 success, 01-02 success, 01-03 running); in the running one `first` runs as
-- attempt …0101, the mapped task `mapped` runs as …0110 to …0112, and the others wait. `strict` is a Dag with
-- `fail_fast`. `consumer_*` wait for assets.

INSERT INTO dag_bundle (name, active) VALUES ('dags-folder', true);

INSERT INTO dag (
    dag_id, is_paused, is_stale, fileloc, relative_fileloc, bundle_name, owners, timetable_type, max_active_tasks,
    max_active_runs, max_consecutive_failed_dag_runs, has_task_concurrency_limits, fail_fast, partition_mapper_info,
    next_dagrun
)
SELECT
    dag_id, dag_id = 'consumer_paused', false, '/dags/' || dag_id || '.py', dag_id || '.py', 'dags-folder', 'ada,grace',
    'airflow.timetables.simple.NullTimetable', 16, 16, 0, false, dag_id = 'strict', '{}', '2026-01-04T00:00:00Z'
FROM unnest(ARRAY[
    'pipeline', 'strict', 'consumer_asset', 'consumer_alias', 'consumer_name', 'consumer_uri', 'consumer_paused'
]) AS dag_id;

INSERT INTO dag_tag (name, dag_id) VALUES ('zeta', 'pipeline'), ('alpha', 'pipeline');

INSERT INTO dag_version (id, version_number, dag_id, bundle_name, created_at, last_updated) VALUES
    ('00000000-0000-7000-8000-00000000000a', 1, 'pipeline', 'dags-folder', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z'),
    ('00000000-0000-7000-8000-00000000000b', 1, 'strict', 'dags-folder', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z');

INSERT INTO serialized_dag (id, dag_id, data, created_at, last_updated, dag_hash, dag_version_id)
SELECT
    id, dag_id,
    jsonb_build_object('__version', 3, 'dag', jsonb_build_object(
        'dag_id', dag_id,
        'fileloc', '/dags/' || dag_id || '.py',
        'relative_fileloc', dag_id || '.py',
        'timezone', 'UTC',
        'timetable', '{"__type": "airflow.timetables.simple.NullTimetable", "__var": {}}'::jsonb,
        'params', '[]'::jsonb,
        'dag_dependencies', '[]'::jsonb,
        'edge_info', '{}'::jsonb,
        'fail_fast', dag_id = 'strict',
        'task_group', task_group,
        'tasks', tasks
    )),
    '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', md5(dag_id), version_id
FROM (
    VALUES
    (
        '00000000-0000-7000-8000-0000000000aa'::uuid, 'pipeline', '00000000-0000-7000-8000-00000000000a'::uuid,
        '{"_group_id": null, "group_display_name": "", "prefix_group_id": true, "tooltip": "", "ui_color": "CornflowerBlue",
          "ui_fgcolor": "#000", "upstream_group_ids": [], "downstream_group_ids": [], "upstream_task_ids": [],
          "downstream_task_ids": [], "children": {
            "first": ["operator", "first"], "mapped": ["operator", "mapped"],
            "group": ["taskgroup", {"_group_id": "group", "group_display_name": "", "prefix_group_id": true, "tooltip": "",
              "ui_color": "CornflowerBlue", "ui_fgcolor": "#000", "upstream_group_ids": [], "downstream_group_ids": [],
              "upstream_task_ids": [], "downstream_task_ids": [], "children": {
                "group.left": ["operator", "group.left"], "group.right": ["operator", "group.right"]}}],
            "empty": ["taskgroup", {"_group_id": "empty", "group_display_name": "", "prefix_group_id": true, "tooltip": "",
              "ui_color": "CornflowerBlue", "ui_fgcolor": "#000", "upstream_group_ids": [], "downstream_group_ids": [],
              "upstream_task_ids": [], "downstream_task_ids": [], "children": {
                "empty.unborn": ["operator", "empty.unborn"]}}]
          }}'::jsonb,
        '[{"__type": "operator", "__var": {"task_id": "first", "task_type": "EmptyOperator", "_task_module": "m",
            "_needs_expansion": false, "template_fields": [],
            "outlets": [
              {"__type": "asset", "__var": {"name": "orders", "uri": "s3://lake/orders", "group": "asset", "extra": {}}},
              {"__type": "asset", "__var": {"name": "retired", "uri": "s3://lake/retired", "group": "asset", "extra": {}}}]}},
          {"__type": "operator", "__var": {"task_id": "mapped", "task_type": "EmptyOperator", "_task_module": "m",
            "_needs_expansion": false, "template_fields": []}},
          {"__type": "operator", "__var": {"task_id": "group.left", "task_type": "EmptyOperator", "_task_module": "m",
            "_needs_expansion": false, "template_fields": []}},
          {"__type": "operator", "__var": {"task_id": "group.right", "task_type": "EmptyOperator", "_task_module": "m",
            "_needs_expansion": false, "template_fields": []}},
          {"__type": "operator", "__var": {"task_id": "empty.unborn", "task_type": "EmptyOperator", "_task_module": "m",
            "_needs_expansion": false, "template_fields": []}}]'::jsonb
    ),
    (
        '00000000-0000-7000-8000-0000000000bb'::uuid, 'strict', '00000000-0000-7000-8000-00000000000b'::uuid,
        '{"_group_id": null, "group_display_name": "", "prefix_group_id": true, "tooltip": "", "ui_color": "CornflowerBlue",
          "ui_fgcolor": "#000", "upstream_group_ids": [], "downstream_group_ids": [], "upstream_task_ids": [],
          "downstream_task_ids": [], "children": {
            "culprit": ["operator", "culprit"], "beside": ["operator", "beside"], "after": ["operator", "after"],
            "done": ["operator", "done"], "cleanup": ["operator", "cleanup"]}}'::jsonb,
        '[{"__type": "operator", "__var": {"task_id": "culprit", "task_type": "EmptyOperator", "_task_module": "m",
            "_needs_expansion": false, "template_fields": []}},
          {"__type": "operator", "__var": {"task_id": "beside", "task_type": "EmptyOperator", "_task_module": "m",
            "_needs_expansion": false, "template_fields": []}},
          {"__type": "operator", "__var": {"task_id": "after", "task_type": "EmptyOperator", "_task_module": "m",
            "_needs_expansion": false, "template_fields": []}},
          {"__type": "operator", "__var": {"task_id": "done", "task_type": "EmptyOperator", "_task_module": "m",
            "_needs_expansion": false, "template_fields": []}},
          {"__type": "operator", "__var": {"task_id": "cleanup", "task_type": "EmptyOperator", "_task_module": "m",
            "_needs_expansion": false, "template_fields": [], "is_teardown": true}}]'::jsonb
    )
) AS documents (id, dag_id, version_id, task_group, tasks);

INSERT INTO dag_run (
    id, dag_id, run_id, run_type, state, logical_date, data_interval_start, data_interval_end, run_after, start_date,
    end_date, conf, triggering_user_name, created_dag_version_id, clear_number, triggered_by
) VALUES
    (1, 'pipeline', 'r1', 'scheduled', 'success', '2026-01-01T00:00:00Z', '2025-12-31T00:00:00Z', '2026-01-01T00:00:00Z',
     '2026-01-01T00:00:00Z', '2026-01-01T00:00:01Z', '2026-01-01T00:01:00Z', '{}', NULL,
     '00000000-0000-7000-8000-00000000000a', 0, 'TIMETABLE'),
    (2, 'pipeline', 'r2', 'scheduled', 'success', '2026-01-02T00:00:00Z', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z',
     '2026-01-02T00:00:00Z', '2026-01-02T00:00:01Z', NULL, '{}', NULL, '00000000-0000-7000-8000-00000000000a', 0, 'TIMETABLE'),
    (3, 'pipeline', 'r3', 'manual', 'running', '2026-01-03T00:00:00Z', '2026-01-02T00:00:00Z', '2026-01-03T00:00:00Z',
     '2026-01-03T00:00:00Z', '2026-01-03T00:00:01Z', NULL, '{"level": 3}', 'ada',
     '00000000-0000-7000-8000-00000000000a', 1, 'REST_API'),
    (4, 'strict', 's1', 'manual', 'running', '2026-01-03T00:00:00Z', NULL, NULL, '2026-01-03T00:00:00Z',
     '2026-01-03T00:00:01Z', NULL, '{}', NULL, '00000000-0000-7000-8000-00000000000b', 0, 'REST_API');
SELECT setval('dag_run_id_seq', 100);

INSERT INTO task_instance (
    id, dag_id, run_id, task_id, map_index, state, try_number, max_tries, hostname, unixname, pid, pool, pool_slots,
    queue, priority_weight, operator, start_date, end_date, duration, queued_dttm, updated_at, dag_version_id,
    next_method, next_kwargs
)
SELECT
    ('00000000-0000-7000-8000-' || lpad(number, 12, '0'))::uuid, dag_id, run_id, task_id, map_index, state, try_number,
    max_tries,
    CASE WHEN state = 'running' THEN 'worker-1' ELSE '' END, CASE WHEN state = 'running' THEN 'airflow' END,
    CASE WHEN state = 'running' THEN 4711 END, 'default_pool', 1, 'default', 1, 'EmptyOperator',
    started::timestamptz, ended::timestamptz, extract(epoch FROM ended::timestamptz - started::timestamptz),
    '2026-01-03T00:00:02Z', '2026-01-03T00:00:03Z',
    CASE dag_id WHEN 'strict' THEN '00000000-0000-7000-8000-00000000000b' ELSE '00000000-0000-7000-8000-00000000000a' END::uuid,
    next_method, next_kwargs::jsonb
FROM (
    VALUES
    ('001', 'pipeline', 'r1', 'first', -1, 'success', 1, 0, '2026-01-01T00:00:02Z', '2026-01-01T00:00:12Z', NULL, NULL),
    ('002', 'pipeline', 'r2', 'first', -1, 'failed', 2, 1, '2026-01-02T00:00:02Z', '2026-01-02T00:00:03.5Z', NULL, NULL),
    ('011', 'pipeline', 'r2', 'mapped', 0, 'skipped', 1, 0, '2026-01-02T00:00:02Z', '2026-01-02T00:00:02Z', NULL, NULL),
    ('101', 'pipeline', 'r3', 'first', -1, 'running', 1, 2, '2026-01-03T00:00:04Z', NULL, NULL, NULL),
    ('102', 'pipeline', 'r3', 'queued', -1, 'queued', 1, 2, NULL, NULL, NULL, NULL),
    ('103', 'pipeline', 'r3', 'resuming', -1, 'queued', 1, 0, '2026-01-03T00:00:04Z', NULL, 'execute_complete', '{"event": "fired"}'),
    ('104', 'pipeline', 'r3', 'group.left', -1, NULL, 0, 0, NULL, NULL, NULL, NULL),
    ('105', 'pipeline', 'r3', 'group.right', -1, 'scheduled', 0, 0, NULL, NULL, NULL, NULL),
    ('106', 'pipeline', 'r3', 'finished', -1, 'success', 1, 0, '2026-01-03T00:00:04Z', '2026-01-03T00:00:05Z', NULL, NULL),
    ('107', 'pipeline', 'r3', 'restarting', -1, 'restarting', 4, 2, NULL, NULL, NULL, NULL),
    ('110', 'pipeline', 'r3', 'mapped', 0, 'running', 1, 1, '2026-01-03T00:00:04Z', NULL, NULL, NULL),
    ('111', 'pipeline', 'r3', 'mapped', 1, 'running', 1, 0, '2026-01-03T00:00:04Z', NULL, NULL, NULL),
    ('112', 'pipeline', 'r3', 'mapped', 2, 'running', 1, 0, '2026-01-03T00:00:04Z', NULL, NULL, NULL),
    ('121', 'pipeline', 'r3', 'sensor', -1, 'running', 1, 1, '2026-01-03T00:00:04Z', NULL, NULL, NULL),
    ('122', 'pipeline', 'r3', 'deferring', -1, 'running', 1, 0, '2026-01-03T00:00:04Z', NULL, NULL, NULL),
    ('123', 'pipeline', 'r3', 'asking', -1, 'running', 1, 0, '2026-01-03T00:00:04Z', NULL, NULL, NULL),
    ('124', 'pipeline', 'r3', 'answered', -1, 'running', 1, 0, '2026-01-03T00:00:04Z', NULL, NULL, NULL),
    ('201', 'strict', 's1', 'culprit', -1, 'running', 1, 0, '2026-01-03T00:00:04Z', NULL, NULL, NULL),
    ('202', 'strict', 's1', 'beside', -1, 'running', 1, 3, '2026-01-03T00:00:04Z', NULL, NULL, NULL),
    ('203', 'strict', 's1', 'after', -1, NULL, 0, 0, NULL, NULL, NULL, NULL),
    ('204', 'strict', 's1', 'done', -1, 'success', 1, 0, '2026-01-03T00:00:04Z', '2026-01-03T00:00:05Z', NULL, NULL),
    ('205', 'strict', 's1', 'cleanup', -1, NULL, 0, 0, NULL, NULL, NULL, NULL)
) AS attempts (number, dag_id, run_id, task_id, map_index, state, try_number, max_tries, started, ended, next_method, next_kwargs);

INSERT INTO task_instance_note (ti_id, content, created_at, updated_at)
VALUES ('00000000-0000-7000-8000-000000000110', 'look here', '2026-01-03T00:00:04Z', '2026-01-03T00:00:04Z');

INSERT INTO task_reschedule (ti_id, start_date, end_date, duration, reschedule_date) VALUES
    ('00000000-0000-7000-8000-000000000121', '2026-01-03T00:00:04Z', '2026-01-03T00:00:05Z', 1, '2026-01-03T00:01:05Z'),
    ('00000000-0000-7000-8000-000000000121', '2026-01-03T00:01:05Z', '2026-01-03T00:01:06Z', 1, '2026-01-03T00:02:05Z');

INSERT INTO xcom (dag_run_id, dag_id, run_id, task_id, map_index, key, value, dag_result, timestamp) VALUES
    (1, 'pipeline', 'r1', 'first', -1, 'return_value', '"one"', false, '2026-01-01T00:00:12Z'),
    (2, 'pipeline', 'r2', 'first', -1, 'return_value', '"two"', false, '2026-01-02T00:00:03Z'),
    (1, 'pipeline', 'r1', 'first', -1, 'only_r1', '{"a": [1, 2.5, null]}', false, '2026-01-01T00:00:12Z'),
    (3, 'pipeline', 'r3', 'first', -1, 'left_over', '1', false, '2026-01-03T00:00:04Z'),
    (3, 'pipeline', 'r3', 'queued', -1, 'from_before', '1', false, '2026-01-03T00:00:04Z'),
    (3, 'pipeline', 'r3', 'resuming', -1, 'kept', '1', false, '2026-01-03T00:00:04Z'),
    (3, 'pipeline', 'r3', 'finished', -1, 'nothing', 'null', false, '2026-01-03T00:00:04Z');
INSERT INTO xcom (dag_run_id, dag_id, run_id, task_id, map_index, key, value, dag_result, timestamp)
SELECT 3, 'pipeline', 'r3', 'mapped', n, 'return_value', to_jsonb('v' || n), false, '2026-01-03T00:00:04Z'
FROM generate_series(0, 2) AS n;

-- The passwords and extras are encrypted with the key in record.py.
INSERT INTO connection (conn_id, conn_type, host, schema, login, port, password, extra, is_encrypted, is_extra_encrypted) VALUES
    ('plain', 'http', 'example.org', 'https', 'ada', 8443, 'open', '{"verify": false}', false, false),
    ('bare', 'fs', NULL, NULL, NULL, NULL, NULL, NULL, false, false),
    ('secret', 'postgres', 'db', 'warehouse', 'grace', 5432, '@password@', '@extra@', true, true),
    ('foreign_key', 'http', NULL, NULL, NULL, NULL, '@foreign@', NULL, true, false),
    ('broken_extra', 'http', NULL, NULL, NULL, NULL, NULL, 'no json', false, false);

INSERT INTO variable (key, val, description, is_encrypted) VALUES
    ('app_plain', 'text', NULL, false),
    ('app_secret', '@variable@', 'a secret', true),
    ('app%odd', '', NULL, false),
    ('foreign_key', '@foreign@', NULL, true);

INSERT INTO asset (id, name, uri, "group", extra, created_at, updated_at) VALUES
    (1, 'orders', 's3://lake/orders', 'asset', '{"owner": "ada"}', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z'),
    (2, 'retired', 's3://lake/retired', 'asset', '{}', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z'),
    (3, 'customers', 's3://lake/customers', 'crm', '{}', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z');
SELECT setval('asset_id_seq', 100);
INSERT INTO asset_active (name, uri) VALUES ('orders', 's3://lake/orders'), ('customers', 's3://lake/customers');
INSERT INTO asset_alias (id, name, "group") VALUES (1, 'daily', 'asset'), (2, 'unused', 'asset');
SELECT setval('asset_alias_id_seq', 100);
INSERT INTO asset_alias_asset (alias_id, asset_id) VALUES (1, 3);
INSERT INTO asset_event (id, asset_id, extra, source_task_id, source_dag_id, source_run_id, source_map_index, timestamp) VALUES
    (1, 1, '{"rows": 7}', 'first', 'pipeline', 'r1', -1, '2026-01-01T00:00:12Z'),
    (2, 1, '{}', NULL, NULL, NULL, NULL, '2026-01-02T12:00:00Z'),
    (3, 3, '{"via": "alias"}', 'first', 'pipeline', 'r2', -1, '2026-01-02T13:00:00Z');
SELECT setval('asset_event_id_seq', 100);
INSERT INTO asset_alias_asset_event (alias_id, event_id) VALUES (1, 3);
INSERT INTO dagrun_asset_event (dag_run_id, event_id) VALUES (3, 1), (3, 3);
INSERT INTO dag_schedule_asset_reference (asset_id, dag_id, created_at, updated_at) VALUES
    (1, 'consumer_asset', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z'),
    (1, 'consumer_paused', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z');
INSERT INTO dag_schedule_asset_alias_reference (alias_id, dag_id, created_at, updated_at)
VALUES (1, 'consumer_alias', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z');
INSERT INTO dag_schedule_asset_name_reference (name, dag_id, created_at)
VALUES ('orders', 'consumer_name', '2026-01-01T00:00:00Z');
INSERT INTO dag_schedule_asset_uri_reference (uri, dag_id, created_at)
VALUES ('s3://lake/customers', 'consumer_uri', '2026-01-01T00:00:00Z');

INSERT INTO hitl_detail (ti_id, options, subject, multiple, params, created_at, responded_at, responded_by, chosen_options, params_input)
VALUES
    ('00000000-0000-7000-8000-000000000124', '["Approve", "Reject"]', 'Release?', false, '{}', '2026-01-03T00:00:05Z',
     '2026-01-03T00:00:06Z', '{"id": "7", "name": "grace"}', '["Approve"]', '{"why": "fine"}'),
    ('00000000-0000-7000-8000-000000000110', '["Yes"]', 'Sure?', false, '{}', '2026-01-03T00:00:05Z', NULL, NULL, NULL, '{}');
