-- Channels: through what a business is reached, such as a number of WhatsApp. They replace the one number of a business.
CREATE TABLE channels (
    business_id uuid NOT NULL CONSTRAINT channels_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    kind text NOT NULL,
    name text NOT NULL,
    phone_number_id text,
    account_id text,
    portfolio_id text,
    display_number text,
    state text NOT NULL DEFAULT 'active',
    state_reason text,
    quality text NOT NULL DEFAULT 'unknown',
    messages_per_second integer NOT NULL DEFAULT 80,
    creates_leads boolean NOT NULL DEFAULT true,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search text NOT NULL GENERATED ALWAYS AS (lower(name || ' ' || coalesce(display_number, ''))) STORED,
    PRIMARY KEY (business_id, id),
    CONSTRAINT channels_kind_check CHECK (kind IN ('whatsapp', 'loopback')),
    CONSTRAINT channels_state_check CHECK (state IN ('active', 'paused')),
    CONSTRAINT channels_quality_check CHECK (quality IN ('unknown', 'green', 'yellow', 'red')),
    CONSTRAINT channels_messages_per_second_check CHECK (messages_per_second BETWEEN 1 AND 1000),
    CONSTRAINT channels_phone_number_id_check CHECK (kind <> 'whatsapp' OR phone_number_id IS NOT NULL)
);
-- Over all businesses: a webhook body names the number and nothing else that tells whose it is.
CREATE UNIQUE INDEX channels_phone_number_id_key ON channels (phone_number_id) WHERE deleted_at IS NULL;
CREATE INDEX channels_account_id_idx ON channels (account_id) WHERE deleted_at IS NULL;
CREATE INDEX channels_created_at_idx ON channels (business_id, created_at, id);
CREATE INDEX channels_deleted_at_idx ON channels (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX channels_search_idx ON channels USING gin (business_id, search gin_trgm_ops, metadata jsonb_path_ops);
SELECT rapport_log_changes('channels');
SELECT rapport_enable_tenant_rls('channels');

INSERT INTO channels (business_id, kind, name, phone_number_id)
    SELECT id, 'whatsapp', name, phone_number_id FROM businesses WHERE phone_number_id IS NOT NULL ORDER BY id;
-- squawk-ignore ban-drop-column
ALTER TABLE businesses DROP COLUMN phone_number_id;
SELECT rapport_log_changes('businesses', 'id');

-- One open thread per address and channel: a customer may write to two numbers of one business.
-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint
ALTER TABLE conversations ADD COLUMN channel_id uuid, ADD CONSTRAINT conversations_channel_id_fkey
    FOREIGN KEY (business_id, channel_id) REFERENCES channels (business_id, id) ON DELETE SET NULL (channel_id);
-- What is open goes on through the number; it was the only one. (Without the log of changes, which would have a row for each; one of all in
-- a business is enough.)
ALTER TABLE conversations DISABLE TRIGGER log_change;
UPDATE conversations v SET channel_id = c.id FROM channels c WHERE c.business_id = v.business_id AND v.channel = 'whatsapp';
ALTER TABLE conversations ENABLE ALWAYS TRIGGER log_change;
SELECT rapport_log_all(business_id, 'conversations') FROM channels;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX conversations_channel_id_idx ON conversations (business_id, channel_id, last_message_at, id);
-- squawk-ignore require-concurrent-index-deletion
DROP INDEX conversations_address_key;
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX conversations_address_key ON conversations (business_id, channel, address, channel_id)
    NULLS NOT DISTINCT WHERE status <> 'closed' AND deleted_at IS NULL;
SELECT rapport_log_changes('conversations');
