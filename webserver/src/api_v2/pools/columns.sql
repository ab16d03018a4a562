    p.pool AS name,
    p.slots,
    p.description,
    p.include_deferred,
    used.running + used.queued + used.deferred * p.include_deferred::integer AS occupied_slots,
    used.running AS running_slots,
    used.queued AS queued_slots,
    used.scheduled AS scheduled_slots,
    CASE
        WHEN p.slots = -1 THEN -1
        ELSE p.slots - (used.running + used.queued + used.deferred * p.include_deferred::integer)
    END AS open_slots,
    used.deferred AS deferred_slots,
    p.team_name
