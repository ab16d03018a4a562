-- Every link between an asset and a task that an asset can be reached by, against and along the flow of data:
-- who produces an asset, what the producer reads, who reads an asset, what the reader produces.
WITH RECURSIVE reached (asset_id) AS (
    SELECT $1::integer
    UNION
    SELECT step.asset_id
    FROM reached
    CROSS JOIN LATERAL (
        SELECT inlet.asset_id
        FROM task_outlet_asset_reference outlet
        JOIN task_inlet_asset_reference inlet ON inlet.dag_id = outlet.dag_id AND inlet.task_id = outlet.task_id
        WHERE outlet.asset_id = reached.asset_id /* of: outlet.dag_id */
        UNION ALL
        SELECT outlet.asset_id
        FROM task_inlet_asset_reference inlet
        JOIN task_outlet_asset_reference outlet ON outlet.dag_id = inlet.dag_id AND outlet.task_id = inlet.task_id
        WHERE inlet.asset_id = reached.asset_id /* of: inlet.dag_id */
    ) AS step
)
SELECT a.id, a.name, link.dag_id, link.task_id, link.produces
FROM reached
JOIN asset a ON a.id = reached.asset_id
JOIN (
    SELECT asset_id, dag_id, task_id, TRUE AS produces FROM task_outlet_asset_reference
    UNION ALL
    SELECT asset_id, dag_id, task_id, FALSE FROM task_inlet_asset_reference
) AS link ON link.asset_id = a.id /* of: link.dag_id */
ORDER BY a.id, link.produces DESC, link.dag_id, link.task_id
