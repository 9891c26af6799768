-- Tasks for workers: programs outside of the service, such as one that has a model answer customers. A worker claims tasks for the time
-- of a lease, and renews, completes or fails each by the token of its claim.
CREATE TABLE worker_tasks (
    business_id uuid NOT NULL CONSTRAINT worker_tasks_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    kind text NOT NULL,
    status text NOT NULL DEFAULT 'open',
    conversation_id uuid,
    payload jsonb NOT NULL DEFAULT '{}',
    -- smaller numbers come first
    priority integer NOT NULL DEFAULT 50,
    run_at timestamptz NOT NULL DEFAULT now(),
    dedupe_key text,
    -- since when it has been open: messages put a task off until some time after that
    opened_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 5,
    -- of the last claim
    token uuid,
    lease_until timestamptz,
    result jsonb,
    error text,
    cancel_reason text,
    ended_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT worker_tasks_status_check CHECK (status IN ('open', 'claimed', 'completed', 'failed', 'cancelled')),
    CONSTRAINT worker_tasks_priority_check CHECK (priority >= 0 AND priority <= 100),
    CONSTRAINT worker_tasks_max_attempts_check CHECK (max_attempts >= 1 AND max_attempts <= 100),
    CONSTRAINT worker_tasks_lease_until_check CHECK (status <> 'claimed' OR token IS NOT NULL AND lease_until IS NOT NULL),
    CONSTRAINT worker_tasks_ended_at_check CHECK ((ended_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled'))),
    CONSTRAINT worker_tasks_conversation_id_fkey FOREIGN KEY (business_id, conversation_id)
        REFERENCES conversations (business_id, id) ON DELETE SET NULL (conversation_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- One open task for each key; one that is claimed does not count, because what is new is not in it.
CREATE UNIQUE INDEX worker_tasks_dedupe_key_key ON worker_tasks (business_id, kind, dedupe_key) WHERE status = 'open';
CREATE INDEX worker_tasks_dedupe_key_idx ON worker_tasks (business_id, kind, dedupe_key, created_at, id) WHERE dedupe_key IS NOT NULL;
CREATE INDEX worker_tasks_status_idx ON worker_tasks (business_id, status, priority, run_at, id);
CREATE INDEX worker_tasks_conversation_id_idx ON worker_tasks (business_id, conversation_id, created_at, id) WHERE conversation_id IS NOT NULL;
CREATE INDEX worker_tasks_created_at_idx ON worker_tasks (business_id, created_at, id);
CREATE INDEX worker_tasks_lease_until_idx ON worker_tasks (lease_until) WHERE status = 'claimed';
CREATE INDEX worker_tasks_ended_at_idx ON worker_tasks (ended_at) WHERE ended_at IS NOT NULL;
-- Without entries in the audit log: a task changes with each claim and renewal.
SELECT rapport_log_changes('worker_tasks', 'business_id', '');
SELECT rapport_enable_tenant_rls('worker_tasks');

-- Runs of models, as workers report them, also those whose answer was thrown away. Each counts once, by its id.
CREATE TABLE ai_runs (
    business_id uuid NOT NULL CONSTRAINT ai_runs_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    run_id text NOT NULL,
    -- of the task that it was for
    kind text NOT NULL,
    model text NOT NULL,
    outcome text NOT NULL,
    input_tokens integer NOT NULL DEFAULT 0,
    cached_tokens integer NOT NULL DEFAULT 0,
    output_tokens integer NOT NULL DEFAULT 0,
    cost numeric(14, 6) NOT NULL DEFAULT 0,
    latency_ms integer,
    ended_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT ai_runs_outcome_check CHECK (outcome IN ('sent', 'draft', 'discarded', 'failed')),
    CONSTRAINT ai_runs_input_tokens_check CHECK (input_tokens >= 0),
    CONSTRAINT ai_runs_cached_tokens_check CHECK (cached_tokens >= 0),
    CONSTRAINT ai_runs_output_tokens_check CHECK (output_tokens >= 0),
    CONSTRAINT ai_runs_cost_check CHECK (cost >= 0 AND cost <> 'NaN'),
    CONSTRAINT ai_runs_latency_ms_check CHECK (latency_ms >= 0)
);
CREATE UNIQUE INDEX ai_runs_run_id_key ON ai_runs (business_id, run_id);
CREATE INDEX ai_runs_ended_at_idx ON ai_runs (business_id, ended_at);
SELECT rapport_log_changes('ai_runs', 'business_id', '');
SELECT rapport_enable_tenant_rls('ai_runs');

-- Who answers in a conversation: people, or a worker.
ALTER TABLE conversations ADD COLUMN handler text NOT NULL DEFAULT 'person',
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT conversations_handler_check CHECK (handler IN ('person', 'ai'));
SELECT rapport_log_changes('conversations');
-- Who answers in the conversations that begin on a channel.
ALTER TABLE channels ADD COLUMN default_handler text NOT NULL DEFAULT 'person',
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT channels_default_handler_check CHECK (default_handler IN ('person', 'ai'));
SELECT rapport_log_changes('channels');

-- What else is known of a message that a model wrote.
ALTER TABLE messages ADD COLUMN cached_tokens integer, ADD COLUMN latency_ms integer, ADD COLUMN run_id text,
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT messages_cached_tokens_check CHECK (cached_tokens >= 0),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT messages_latency_ms_check CHECK (latency_ms >= 0);
SELECT rapport_log_changes('messages');
