-- Tables ($1) of which at least a fifth has changed since they were analysed, and not only a few rows; and that we may have
-- analysed.
SELECT stat.relid::regclass::text
FROM pg_stat_user_tables stat
JOIN pg_class ON pg_class.oid = stat.relid
WHERE stat.relid = ANY ($1::text[]::regclass[])
  AND stat.n_mod_since_analyze > 500 + stat.n_live_tup / 5
  AND pg_has_role(pg_class.relowner, 'USAGE')
