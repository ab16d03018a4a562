-- Counts the deadlines of a run ($1) that depend on when it was queued from $2 on. Older versions of Airflow stored an
-- interval as the number of seconds alone. An interval that is a Variable is left as it was.
UPDATE deadline
SET deadline_time = $2 + make_interval(secs => length.seconds), last_updated_at = $2
FROM deadline_alert alert
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN json_typeof(alert."interval") = 'number' THEN (alert."interval" #>> '{}')::float8
        WHEN json_typeof(alert."interval" -> '__data__') = 'number' THEN (alert."interval" ->> '__data__')::float8
    END AS seconds
) AS length
WHERE deadline.dagrun_id = $1
  AND deadline.deadline_alert_id = alert.id
  AND NOT deadline.missed
  AND alert.reference ->> 'reference_type' = 'DagRunQueuedAtDeadline'
  AND length.seconds IS NOT NULL
