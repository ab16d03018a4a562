-- Callbacks of missed deadlines that a Dag processor is to call (tradewind_metadata::deadline::callback). The row is written with
-- the state `queued` and goes with the end of the callback.
CREATE TABLE tradewind.deadline_callback (
    callback_id uuid PRIMARY KEY,
    -- Until when it belongs to a process, which extends this while it works; null: nobody has taken it yet.
    claimed_until timestamptz,
    -- How often it was taken. Who took it last may end it.
    attempts integer NOT NULL DEFAULT 0
);

-- Deadlines of new runs whose moment only a process with plugins and secrets can tell (tradewind_metadata::deadline::request).
CREATE TABLE tradewind.deadline_request (
    dag_run_id integer NOT NULL,
    deadline_alert_id uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    claimed_until timestamptz,
    PRIMARY KEY (dag_run_id, deadline_alert_id)
);
