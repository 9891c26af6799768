-- Tasks, notes, decisions about leads, and merges of duplicates.

CREATE TABLE tasks (
    business_id uuid NOT NULL CONSTRAINT tasks_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    title text NOT NULL,
    description text,
    status text NOT NULL DEFAULT 'open',
    priority text NOT NULL DEFAULT 'normal',
    due_at timestamptz,
    completed_at timestamptz,
    assignee_id uuid,
    lead_id uuid,
    contact_id uuid,
    company_id uuid,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search text NOT NULL GENERATED ALWAYS AS (lower(title)) STORED,
    reminded_at timestamptz,
    external_id text,
    PRIMARY KEY (business_id, id),
    CONSTRAINT tasks_status_check CHECK (status IN ('open', 'done', 'cancelled')),
    CONSTRAINT tasks_priority_check CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
    CONSTRAINT tasks_assignee_id_fkey FOREIGN KEY (business_id, assignee_id)
        REFERENCES memberships (business_id, user_id) ON DELETE SET NULL (assignee_id),
    CONSTRAINT tasks_lead_id_fkey FOREIGN KEY (business_id, lead_id)
        REFERENCES leads (business_id, id) ON DELETE SET NULL (lead_id),
    CONSTRAINT tasks_contact_id_fkey FOREIGN KEY (business_id, contact_id)
        REFERENCES contacts (business_id, id) ON DELETE SET NULL (contact_id),
    CONSTRAINT tasks_company_id_fkey FOREIGN KEY (business_id, company_id)
        REFERENCES companies (business_id, id) ON DELETE SET NULL (company_id)
);
CREATE UNIQUE INDEX tasks_external_id_key ON tasks (business_id, external_id)
    WHERE external_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX tasks_created_at_idx ON tasks (business_id, created_at, id);
CREATE INDEX tasks_due_at_idx ON tasks (business_id, (coalesce(due_at, '9999-12-31 23:59:59+00'::timestamptz)), id);
CREATE INDEX tasks_status_idx ON tasks (business_id, status, created_at, id);
CREATE INDEX tasks_assignee_id_idx ON tasks (business_id, assignee_id, created_at, id);
CREATE INDEX tasks_lead_id_idx ON tasks (business_id, lead_id, created_at, id);
CREATE INDEX tasks_contact_id_idx ON tasks (business_id, contact_id, created_at, id);
CREATE INDEX tasks_company_id_idx ON tasks (business_id, company_id, created_at, id);
CREATE INDEX tasks_deleted_at_idx ON tasks (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX tasks_search_idx ON tasks USING gin (business_id, search gin_trgm_ops, metadata jsonb_path_ops);
-- whose reminder is still to come
CREATE INDEX tasks_reminder_idx ON tasks (due_at)
    WHERE due_at IS NOT NULL AND reminded_at IS NULL AND status = 'open' AND deleted_at IS NULL;

CREATE TABLE notes (
    business_id uuid NOT NULL CONSTRAINT notes_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    body text NOT NULL,
    pinned boolean NOT NULL DEFAULT false,
    author_id uuid,
    lead_id uuid,
    contact_id uuid,
    company_id uuid,
    conversation_id uuid,
    booking_id uuid,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('simple', body)) STORED,
    external_id text,
    PRIMARY KEY (business_id, id),
    CONSTRAINT notes_author_id_fkey FOREIGN KEY (business_id, author_id)
        REFERENCES memberships (business_id, user_id) ON DELETE SET NULL (author_id),
    CONSTRAINT notes_lead_id_fkey FOREIGN KEY (business_id, lead_id)
        REFERENCES leads (business_id, id) ON DELETE SET NULL (lead_id),
    CONSTRAINT notes_contact_id_fkey FOREIGN KEY (business_id, contact_id)
        REFERENCES contacts (business_id, id) ON DELETE SET NULL (contact_id),
    CONSTRAINT notes_company_id_fkey FOREIGN KEY (business_id, company_id)
        REFERENCES companies (business_id, id) ON DELETE SET NULL (company_id),
    CONSTRAINT notes_conversation_id_fkey FOREIGN KEY (business_id, conversation_id)
        REFERENCES conversations (business_id, id) ON DELETE SET NULL (conversation_id),
    CONSTRAINT notes_booking_id_fkey FOREIGN KEY (business_id, booking_id)
        REFERENCES bookings (business_id, id) ON DELETE SET NULL (booking_id)
);
CREATE UNIQUE INDEX notes_external_id_key ON notes (business_id, external_id)
    WHERE external_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX notes_created_at_idx ON notes (business_id, created_at, id);
CREATE INDEX notes_author_id_idx ON notes (business_id, author_id, created_at, id);
CREATE INDEX notes_lead_id_idx ON notes (business_id, lead_id, created_at, id);
CREATE INDEX notes_contact_id_idx ON notes (business_id, contact_id, created_at, id);
CREATE INDEX notes_company_id_idx ON notes (business_id, company_id, created_at, id);
CREATE INDEX notes_conversation_id_idx ON notes (business_id, conversation_id, created_at, id);
CREATE INDEX notes_booking_id_idx ON notes (business_id, booking_id, created_at, id);
CREATE INDEX notes_deleted_at_idx ON notes (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX notes_search_idx ON notes USING gin (business_id, search, metadata jsonb_path_ops);

-- What a user, a model or a rule decided about a lead. The service adds rows and changes them only to erase a person.
CREATE TABLE decisions (
    business_id uuid NOT NULL CONSTRAINT decisions_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    lead_id uuid NOT NULL,
    conversation_id uuid,
    author text NOT NULL DEFAULT 'user',
    author_id uuid,
    decision text NOT NULL,
    reason text,
    score integer,
    model text,
    confidence numeric(14, 6),
    payload jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT decisions_author_check CHECK (author IN ('user', 'ai', 'system')),
    CONSTRAINT decisions_score_check CHECK (score BETWEEN 0 AND 100),
    CONSTRAINT decisions_confidence_check CHECK (confidence BETWEEN 0 AND 1),
    CONSTRAINT decisions_lead_id_fkey FOREIGN KEY (business_id, lead_id)
        REFERENCES leads (business_id, id) ON DELETE CASCADE,
    CONSTRAINT decisions_conversation_id_fkey FOREIGN KEY (business_id, conversation_id)
        REFERENCES conversations (business_id, id) ON DELETE SET NULL (conversation_id),
    CONSTRAINT decisions_author_id_fkey FOREIGN KEY (business_id, author_id)
        REFERENCES memberships (business_id, user_id) ON DELETE SET NULL (author_id)
);
CREATE INDEX decisions_created_at_idx ON decisions (business_id, created_at, id);
CREATE INDEX decisions_score_idx ON decisions (business_id, (coalesce(score, 0)), id);
CREATE INDEX decisions_lead_id_idx ON decisions (business_id, lead_id, created_at, id);
CREATE INDEX decisions_conversation_id_idx ON decisions (business_id, conversation_id, created_at, id);
CREATE INDEX decisions_author_id_idx ON decisions (business_id, author_id, created_at, id);
CREATE INDEX decisions_decision_idx ON decisions (business_id, decision, created_at, id);

-- Contacts or companies that were merged into one, with what is needed to undo it.
CREATE TABLE merges (
    business_id uuid NOT NULL CONSTRAINT merges_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    -- the table of the rows; no foreign keys, because there are two such tables
    resource text NOT NULL,
    survivor_id uuid NOT NULL,
    from_ids text[] NOT NULL,
    -- how many rows of each resource were linked to the survivor
    moved jsonb NOT NULL DEFAULT '{}',
    -- and which: {"leads.contact_id": {"<from>": ["<lead>", …]}}
    links jsonb NOT NULL DEFAULT '{}',
    -- the survivor's fields: {"email": {"old": null, "new": "…"}}
    changes jsonb NOT NULL DEFAULT '{}',
    reversible_until timestamptz NOT NULL,
    reverted_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT merges_resource_check CHECK (resource IN ('contacts', 'companies'))
);
CREATE INDEX merges_created_at_idx ON merges (business_id, created_at, id);
CREATE INDEX merges_survivor_id_idx ON merges (business_id, survivor_id, created_at, id);
CREATE INDEX merges_from_ids_idx ON merges USING gin (business_id, from_ids);
