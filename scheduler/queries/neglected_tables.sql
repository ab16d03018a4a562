-- Tables ($1) of which at least a fifth has changed since they were analysed, or is dead, and not only a few rows; and that
-- we may have looked after. What is dead may have to stay for somebody who still looks at it: then there is no hurry.
WITH stat AS (
    SELECT
        relid, n_mod_since_analyze, n_live_tup,
        CASE WHEN last_vacuum > now() - interval '20 seconds' THEN 0 ELSE n_dead_tup END AS n_dead_tup
    FROM pg_stat_user_tables
    WHERE relid = ANY ($1::text[]::regclass[])
)
SELECT stat.relid::regclass::text AS name, stat.n_dead_tup > 500 + stat.n_live_tup / 5 AS is_littered
FROM stat
JOIN pg_class ON pg_class.oid = stat.relid
WHERE greatest(stat.n_mod_since_analyze, stat.n_dead_tup) > 500 + stat.n_live_tup / 5
  AND pg_has_role(pg_class.relowner, 'USAGE')
