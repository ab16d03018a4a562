-- Options of providers for the web server; the row is published anew with them at the next start of a Dag processor.
DELETE FROM tradewind.python_environment;
ALTER TABLE tradewind.python_environment ADD COLUMN configuration jsonb NOT NULL;
