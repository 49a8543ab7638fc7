-- The environments of `metadata_provider: SQL`. The user of `metadata_sql_uri_secret` needs SELECT on the table and nothing else.
CREATE TABLE IF NOT EXISTS chalk_writer_environments (
    -- `*` stands for any environment without a row of its own.
    id text PRIMARY KEY CHECK (id <> ''),
    -- What an entry of `environments` in a configuration file says. Passwords do not belong here: {"online_store": {"uri": "secret:NAME"}}
    description jsonb NOT NULL CHECK (jsonb_typeof(description) = 'object'),
    updated_at timestamptz NOT NULL DEFAULT now()
);
