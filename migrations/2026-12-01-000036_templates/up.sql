-- Templates of messages, as the channel knows them, and how their synchronisation goes.
CREATE TABLE templates (
    business_id uuid NOT NULL CONSTRAINT templates_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    channel_id uuid NOT NULL,
    external_id text,
    name text NOT NULL,
    language text NOT NULL,
    category text,
    status text NOT NULL,
    -- when the channel last told of it: what it told before is late
    status_at timestamptz NOT NULL DEFAULT now(),
    rejected_reason text,
    quality text NOT NULL DEFAULT 'unknown',
    components jsonb NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    search text NOT NULL GENERATED ALWAYS AS (lower(name)) STORED,
    PRIMARY KEY (business_id, id),
    CONSTRAINT templates_status_check CHECK (status IN ('approved', 'pending', 'rejected', 'paused', 'disabled', 'in_appeal',
        'pending_deletion', 'deleted', 'limit_exceeded', 'archived', 'unknown')),
    CONSTRAINT templates_quality_check CHECK (quality IN ('unknown', 'green', 'yellow', 'red')),
    CONSTRAINT templates_channel_id_fkey FOREIGN KEY (business_id, channel_id)
        REFERENCES channels (business_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX templates_name_key ON templates (business_id, channel_id, name, language);
CREATE INDEX templates_channel_id_idx ON templates (business_id, channel_id, created_at, id);
CREATE INDEX templates_created_at_idx ON templates (business_id, created_at, id);
CREATE INDEX templates_name_idx ON templates (business_id, lower(name) COLLATE "C", id);
CREATE INDEX templates_search_idx ON templates USING gin (business_id, search gin_trgm_ops);
SELECT rapport_log_changes('templates');
SELECT rapport_enable_tenant_rls('templates');

-- One for each channel: its last synchronisation, the one that runs, and when the next is due.
CREATE TABLE template_syncs (
    business_id uuid NOT NULL CONSTRAINT template_syncs_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    channel_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'queued',
    due_at timestamptz NOT NULL DEFAULT now(),
    -- of the process that runs it: another one may when the time is over
    leased_until timestamptz,
    token bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    templates integer,
    error text,
    started_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (business_id, id),
    CONSTRAINT template_syncs_state_check CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
    CONSTRAINT template_syncs_channel_id_fkey FOREIGN KEY (business_id, channel_id)
        REFERENCES channels (business_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX template_syncs_channel_id_key ON template_syncs (business_id, channel_id);
SELECT rapport_enable_tenant_rls('template_syncs');
