-- Jobs: work that takes longer than a request. What is told of one is a row of `jobs`; what it runs by is a row of
-- `job_runs`, which is there as long as there is something to do, so that looking for work never walks over what is done,
-- and nothing of what a job was given outlives it.

CREATE TABLE jobs (
    business_id uuid NOT NULL CONSTRAINT jobs_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    kind text NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CONSTRAINT jobs_state_check CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    -- how far it is, as of a moment ago: told at most once a second, because each time is an entry of the audit log
    total bigint,
    done bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    result jsonb,
    error jsonb,
    actor_kind text NOT NULL CONSTRAINT jobs_actor_kind_check CHECK (actor_kind IN ('user', 'api_key', 'system')),
    actor_id uuid,
    started_at timestamptz,
    finished_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
CREATE INDEX jobs_created_at_idx ON jobs (business_id, created_at, id);
CREATE INDEX jobs_actor_id_idx ON jobs (business_id, actor_id, created_at, id);
-- those that finished long ago are cleared away
CREATE INDEX jobs_finished_at_idx ON jobs (finished_at) WHERE finished_at IS NOT NULL;
SELECT rapport_wall('jobs');
-- That old ones are cleared away is no news.
SELECT rapport_audit('jobs', 'business_id', 'INSERT UPDATE');

CREATE TABLE job_runs (
    business_id uuid NOT NULL CONSTRAINT job_runs_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    -- the job's
    id uuid NOT NULL,
    kind text NOT NULL,
    input jsonb NOT NULL,
    -- where it goes on: its own business
    cursor jsonb NOT NULL DEFAULT 'null',
    total bigint,
    done bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    -- as whom it runs: who made it, as they were then
    role text NOT NULL CONSTRAINT job_runs_role_check CHECK (role IN ('owner', 'admin', 'manager', 'agent', 'viewer')),
    permissions text[] NOT NULL,
    sees_only uuid,
    -- moves with each claim: who comes with an older one has lost it
    token bigint NOT NULL DEFAULT 0,
    -- claims since a step succeeded
    attempts integer NOT NULL DEFAULT 0,
    run_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- when one of the business' jobs had its turn
    served_at timestamptz,
    leased_until timestamptz,
    told_at timestamptz,
    PRIMARY KEY (business_id, id),
    CONSTRAINT job_runs_id_fkey FOREIGN KEY (business_id, id) REFERENCES jobs (business_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
SELECT rapport_wall('job_runs');

-- Reminders: told once, as a change of the row.
ALTER TABLE tasks ADD COLUMN reminded_at timestamptz;
CREATE INDEX tasks_reminder_idx ON tasks (due_at)
    WHERE due_at IS NOT NULL AND reminded_at IS NULL AND status = 'open' AND deleted_at IS NULL;
ALTER TABLE bookings ADD COLUMN reminded_at timestamptz;
CREATE INDEX bookings_reminder_idx ON bookings (starts_at)
    WHERE reminded_at IS NULL AND status IN ('held', 'pending', 'confirmed') AND deleted_at IS NULL;
-- What was due before there were reminders is no news, and rows that have their indexes rewritten for it would be many:
-- only rows that will be due are looked at, see `crm::reminders`.
