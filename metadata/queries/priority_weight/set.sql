-- $1 task instances, $2 their weights; null leaves the weight as it is. What is left of task instances that are gone goes, too.
WITH given AS (
    SELECT * FROM unnest($1::uuid[], $2::integer[]) AS given (id, weight)
),

weighed AS (
    UPDATE task_instance AS ti
    SET priority_weight = given.weight
    FROM given
    WHERE ti.id = given.id AND given.weight IS NOT NULL
)

DELETE FROM tradewind.priority_weight AS wanted
WHERE wanted.ti_id = ANY($1)
    OR NOT EXISTS (SELECT FROM task_instance AS ti WHERE ti.id = wanted.ti_id)
