-- What people of the business still have to do, and what they wrote down.

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
CREATE INDEX tasks_created_at_idx ON tasks (business_id, created_at, id);
CREATE INDEX tasks_due_at_idx ON tasks (business_id, (coalesce(due_at, '9999-12-31 23:59:59+00'::timestamptz)), id);
CREATE INDEX tasks_status_idx ON tasks (business_id, status, created_at, id);
CREATE INDEX tasks_assignee_id_idx ON tasks (business_id, assignee_id, created_at, id);
CREATE INDEX tasks_lead_id_idx ON tasks (business_id, lead_id, created_at, id);
CREATE INDEX tasks_contact_id_idx ON tasks (business_id, contact_id, created_at, id);
CREATE INDEX tasks_company_id_idx ON tasks (business_id, company_id, created_at, id);
CREATE INDEX tasks_deleted_at_idx ON tasks (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX tasks_search_idx ON tasks USING gin (business_id, search gin_trgm_ops, metadata jsonb_path_ops);

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
CREATE INDEX notes_created_at_idx ON notes (business_id, created_at, id);
CREATE INDEX notes_author_id_idx ON notes (business_id, author_id, created_at, id);
CREATE INDEX notes_lead_id_idx ON notes (business_id, lead_id, created_at, id);
CREATE INDEX notes_contact_id_idx ON notes (business_id, contact_id, created_at, id);
CREATE INDEX notes_company_id_idx ON notes (business_id, company_id, created_at, id);
CREATE INDEX notes_conversation_id_idx ON notes (business_id, conversation_id, created_at, id);
CREATE INDEX notes_booking_id_idx ON notes (business_id, booking_id, created_at, id);
CREATE INDEX notes_deleted_at_idx ON notes (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX notes_search_idx ON notes USING gin (business_id, search, metadata jsonb_path_ops);
