-- What only Python knows of the installed packages and the plugins, for the web server, which has no Python
-- (tradewind_metadata::python_environment). One row, written by a Dag processor whose environment is another one.
CREATE TABLE tradewind.python_environment (
    is_the_only boolean PRIMARY KEY DEFAULT TRUE CHECK (is_the_only),
    fingerprint text NOT NULL,
    plugins jsonb NOT NULL,
    plugin_import_errors jsonb NOT NULL,
    connection_types jsonb NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now()
);
