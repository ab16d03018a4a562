-- Tables ($1) of which at least a fifth has changed since they were analysed, and not only a few rows.
SELECT relid::regclass::text
FROM pg_stat_user_tables
WHERE relid = ANY ($1::text[]::regclass[]) AND n_mod_since_analyze > 500 + n_live_tup / 5
