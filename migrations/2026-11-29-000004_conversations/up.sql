-- Conversations, their messages and their unread counts. An unread count equals a recount, also after messages were deleted,
-- restored or read.

CREATE TABLE conversations (
    business_id uuid NOT NULL CONSTRAINT conversations_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    contact_id uuid,
    lead_id uuid,
    channel text NOT NULL,
    address text NOT NULL,
    status text NOT NULL DEFAULT 'active',
    assignee_id uuid,
    subject text,
    started_at timestamptz NOT NULL DEFAULT now(),
    last_message_at timestamptz NOT NULL DEFAULT now(),
    unread_count integer NOT NULL DEFAULT 0,
    window_expires_at timestamptz,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search text NOT NULL GENERATED ALWAYS AS (lower(address || ' ' || coalesce(subject, ''))) STORED,
    external_id text,
    -- how many of unread_count are messages that arrived since it was last set to a number, and when it was set
    unread_new integer NOT NULL DEFAULT 0,
    unread_since timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (business_id, id),
    CONSTRAINT conversations_channel_check CHECK (channel IN ('whatsapp', 'sms', 'email', 'web')),
    CONSTRAINT conversations_status_check CHECK (status IN ('active', 'pending', 'closed')),
    CONSTRAINT conversations_unread_count_check CHECK (unread_count >= 0),
    CONSTRAINT conversations_unread_new_check CHECK (unread_new >= 0),
    CONSTRAINT conversations_contact_id_fkey FOREIGN KEY (business_id, contact_id)
        REFERENCES contacts (business_id, id) ON DELETE SET NULL (contact_id),
    CONSTRAINT conversations_lead_id_fkey FOREIGN KEY (business_id, lead_id)
        REFERENCES leads (business_id, id) ON DELETE SET NULL (lead_id),
    CONSTRAINT conversations_assignee_id_fkey FOREIGN KEY (business_id, assignee_id)
        REFERENCES memberships (business_id, user_id) ON DELETE SET NULL (assignee_id)
);
-- one open thread per address
CREATE UNIQUE INDEX conversations_address_key ON conversations (business_id, channel, address)
    WHERE status <> 'closed' AND deleted_at IS NULL;
CREATE UNIQUE INDEX conversations_external_id_key ON conversations (business_id, external_id)
    WHERE external_id IS NOT NULL AND deleted_at IS NULL;
-- all threads of an address, closed ones too
CREATE INDEX conversations_address_idx ON conversations (business_id, address, last_message_at, id);
CREATE INDEX conversations_last_message_at_idx ON conversations (business_id, last_message_at, id);
CREATE INDEX conversations_created_at_idx ON conversations (business_id, created_at, id);
CREATE INDEX conversations_status_idx ON conversations (business_id, status, last_message_at, id);
CREATE INDEX conversations_contact_id_idx ON conversations (business_id, contact_id, last_message_at, id);
CREATE INDEX conversations_lead_id_idx ON conversations (business_id, lead_id, last_message_at, id);
CREATE INDEX conversations_assignee_id_idx ON conversations (business_id, assignee_id, last_message_at, id);
CREATE INDEX conversations_deleted_at_idx ON conversations (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX conversations_search_idx ON conversations USING gin (business_id, search gin_trgm_ops, metadata jsonb_path_ops);

CREATE TABLE messages (
    business_id uuid NOT NULL CONSTRAINT messages_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    conversation_id uuid NOT NULL,
    direction text NOT NULL,
    author text NOT NULL,
    author_id uuid,
    kind text NOT NULL DEFAULT 'text',
    body text,
    media jsonb,
    external_id text,
    status text NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    read_at timestamptz,
    failed_reason text,
    cost numeric(14, 6),
    cost_currency text,
    model text,
    input_tokens integer,
    output_tokens integer,
    ai_cost numeric(14, 6),
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    -- 'simple': messages are in many languages, and a wrong stemmer is worse than none
    search tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('simple', coalesce(body, ''))) STORED,
    PRIMARY KEY (business_id, id),
    CONSTRAINT messages_direction_check CHECK (direction IN ('inbound', 'outbound')),
    CONSTRAINT messages_author_check CHECK (author IN ('contact', 'user', 'ai', 'system')
        AND (direction = 'inbound') = (author = 'contact')),
    CONSTRAINT messages_kind_check CHECK (kind IN ('text', 'image', 'audio', 'video', 'document', 'sticker', 'location',
        'contacts', 'interactive', 'reaction', 'template', 'order', 'system', 'unknown')),
    CONSTRAINT messages_status_check CHECK (status IN ('received', 'queued', 'sent', 'delivered', 'read', 'failed')
        AND CASE direction WHEN 'inbound' THEN status IN ('received', 'read') ELSE status <> 'received' END),
    CONSTRAINT messages_cost_check CHECK (cost >= 0),
    CONSTRAINT messages_ai_cost_check CHECK (ai_cost >= 0),
    CONSTRAINT messages_input_tokens_check CHECK (input_tokens >= 0),
    CONSTRAINT messages_output_tokens_check CHECK (output_tokens >= 0),
    CONSTRAINT messages_conversation_id_fkey FOREIGN KEY (business_id, conversation_id)
        REFERENCES conversations (business_id, id) ON DELETE CASCADE,
    CONSTRAINT messages_author_id_fkey FOREIGN KEY (business_id, author_id)
        REFERENCES memberships (business_id, user_id) ON DELETE SET NULL (author_id)
);
CREATE UNIQUE INDEX messages_external_id_key ON messages (business_id, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX messages_conversation_id_idx ON messages (business_id, conversation_id, sent_at, id);
CREATE INDEX messages_sent_at_idx ON messages (business_id, sent_at, id);
CREATE INDEX messages_author_id_idx ON messages (business_id, author_id, sent_at, id) WHERE author_id IS NOT NULL;
CREATE INDEX messages_deleted_at_idx ON messages (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX messages_search_idx ON messages USING gin (business_id, search);

-- When the count is set, counting begins anew. By the clock and not by the transaction's time: the row is locked here, so
-- everything that was added to it before has an earlier time. (The service's own changes move both numbers alike.)
CREATE FUNCTION rapport_unread_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.unread_new := 0;
    NEW.unread_since := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER conversations_unread_update BEFORE UPDATE ON conversations FOR EACH ROW
    WHEN (NEW.unread_count <> OLD.unread_count AND NEW.unread_new = OLD.unread_new)
    EXECUTE FUNCTION rapport_unread_trigger();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER conversations_unread_update;
-- and where a conversation is inserted with a count: of messages that are elsewhere, or that were inserted beside it
CREATE TRIGGER conversations_unread_insert BEFORE INSERT ON conversations FOR EACH ROW
    WHEN (NEW.unread_count <> NEW.unread_new AND NEW.unread_since = '-infinity')
    EXECUTE FUNCTION rapport_unread_trigger();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER conversations_unread_insert;
