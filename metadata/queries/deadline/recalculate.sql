-- Counts the deadlines of a run ($1) that depend on when it was queued from $2 on; those whose interval is a Variable are asked for
-- anew. Older versions of Airflow stored an interval as the number of seconds alone.
WITH counted AS (
    SELECT
        deadline.id, deadline.callback_id, alert.id AS alert_id, alert."interval" #>> '{__data__,key}' AS variable,
        CASE
            WHEN json_typeof(alert."interval") = 'number' THEN (alert."interval" #>> '{}')::float8
            WHEN json_typeof(alert."interval" -> '__data__') = 'number' THEN (alert."interval" ->> '__data__')::float8
        END AS seconds
    FROM deadline
    JOIN deadline_alert alert ON alert.id = deadline.deadline_alert_id
    WHERE deadline.dagrun_id = $1
      AND NOT deadline.missed
      AND alert.reference ->> 'reference_type' = 'DagRunQueuedAtDeadline'
      AND alert.reference ->> '__class_path' IS NULL
    FOR UPDATE OF deadline
),
asked AS (
    INSERT INTO tradewind.deadline_request (dag_run_id, deadline_alert_id, requested_at)
    SELECT $1, alert_id, $2 FROM counted WHERE variable IS NOT NULL
    ON CONFLICT DO NOTHING
),
replaced AS (
    DELETE FROM deadline USING counted WHERE deadline.id = counted.id AND counted.variable IS NOT NULL
),
callbacks AS (
    DELETE FROM callback USING counted WHERE callback.id = counted.callback_id AND counted.variable IS NOT NULL
)
UPDATE deadline
SET deadline_time = $2 + make_interval(secs => counted.seconds), last_updated_at = $2
FROM counted
WHERE deadline.id = counted.id AND counted.seconds IS NOT NULL
