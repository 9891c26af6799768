-- The figures of each member over the last days, as they were on the last night: the live ones are read from the statistics.
CREATE TABLE agent_metrics (
    business_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    user_id uuid NOT NULL,
    window_days integer NOT NULL,
    -- the last day of the window, and of which zone the days are
    ends_on date NOT NULL,
    time_zone text NOT NULL,
    figures jsonb NOT NULL,
    computed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT agent_metrics_window_days_check CHECK (window_days IN (7, 30, 90)),
    CONSTRAINT agent_metrics_user_id_fkey FOREIGN KEY (business_id, user_id)
        REFERENCES memberships (business_id, user_id) ON DELETE CASCADE,
    CONSTRAINT agent_metrics_user_id_key UNIQUE (business_id, user_id, window_days)
);
SELECT rapport_enable_tenant_rls('agent_metrics', 'SELECT');
