-- Events of an asset ($1 name, $2 URI) or an alias ($3) between two times ($4, $5).
SELECT
    jsonb_strip_nulls(jsonb_build_object(
        'source_task_id', event.source_task_id,
        'source_dag_id', event.source_dag_id,
        'source_run_id', event.source_run_id,
        'source_map_index', event.source_map_index,
        'partition_key', event.partition_key
    )) || jsonb_build_object(
        'id', event.id,
        'timestamp', event.timestamp,
        'extra', event.extra,
        'asset', jsonb_build_object('name', asset.name, 'uri', asset.uri, 'group', asset."group", 'extra', asset.extra),
        'created_dagruns', coalesce(
            (
                SELECT jsonb_agg(
                    jsonb_build_object(
                        'run_id', run.run_id,
                        'dag_id', run.dag_id,
                        'logical_date', run.logical_date,
                        'start_date', run.start_date,
                        'end_date', run.end_date,
                        'state', run.state,
                        'data_interval_start', run.data_interval_start,
                        'data_interval_end', run.data_interval_end,
                        'partition_key', run.partition_key
                    )
                    ORDER BY run.id
                )
                FROM dagrun_asset_event created
                JOIN dag_run run ON run.id = created.dag_run_id
                WHERE created.event_id = event.id
            ),
            '[]'::jsonb
        )
    )
FROM asset_event event
JOIN asset ON asset.id = event.asset_id
WHERE
    CASE
        WHEN $3::text IS NOT NULL THEN EXISTS (
            SELECT FROM asset_alias_asset_event link
            JOIN asset_alias alias ON alias.id = link.alias_id
            WHERE link.event_id = event.id AND alias.name = $3
        )
        WHEN $1::text IS NOT NULL AND $2::text IS NOT NULL THEN asset.name = $1 AND asset.uri = $2
        ELSE
            (asset.name = $1 OR asset.uri = $2)
            AND EXISTS (SELECT FROM asset_active active WHERE active.name = asset.name AND active.uri = asset.uri)
    END
    AND ($4::timestamptz IS NULL OR event.timestamp >= $4)
    AND ($5::timestamptz IS NULL OR event.timestamp <= $5)
ORDER BY
    CASE WHEN $6 THEN event.timestamp END ASC,
    CASE WHEN NOT $6 THEN event.timestamp END DESC
LIMIT $7
