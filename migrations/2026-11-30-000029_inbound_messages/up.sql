-- What channels tell of messages: where they came from, what they answer, what a program can read of them, why they failed, that they were
-- edited or revoked; reactions; and updates that wait for their message.
ALTER TABLE messages
    ADD COLUMN origin text NOT NULL DEFAULT 'api',
    ADD COLUMN reply_to_id uuid,
    ADD COLUMN author_contact_id uuid,
    ADD COLUMN payload jsonb,
    ADD COLUMN error jsonb,
    ADD COLUMN pricing jsonb,
    ADD COLUMN edited_at timestamptz,
    -- the channel's id of the edit that it shows: of two at the same second, the greater id counts
    ADD COLUMN edited_by text,
    ADD COLUMN revoked_at timestamptz,
    ADD COLUMN media_state text;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE messages ADD CONSTRAINT messages_origin_check CHECK (origin IN ('api', 'channel', 'phone_app', 'history'));
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE messages ADD CONSTRAINT messages_media_state_check CHECK (media_state IN ('pending', 'stored', 'gone', 'refused'));
-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint
ALTER TABLE messages ADD CONSTRAINT messages_reply_to_id_fkey FOREIGN KEY (business_id, reply_to_id)
    REFERENCES messages (business_id, id) ON DELETE SET NULL (reply_to_id);
-- squawk-ignore constraint-missing-not-valid, adding-foreign-key-constraint
ALTER TABLE messages ADD CONSTRAINT messages_author_contact_id_fkey FOREIGN KEY (business_id, author_contact_id)
    REFERENCES contacts (business_id, id) ON DELETE SET NULL (author_contact_id);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX messages_reply_to_id_idx ON messages (business_id, reply_to_id, sent_at, id) WHERE reply_to_id IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX messages_author_contact_id_idx ON messages (business_id, author_contact_id, sent_at, id) WHERE author_contact_id IS NOT NULL;
SELECT rapport_log_changes('messages');

-- A system message of a channel asks nothing.
CREATE OR REPLACE VIEW stat_turns_now WITH (security_invoker = true) AS
    SELECT t.business_id, t.conversation_id, t.id AS message_id, t.at AS answered_at, t.author_id, extract(epoch FROM t.at - t.asked_at) AS seconds
    FROM (
        SELECT n.business_id, n.conversation_id, n.id, n.at, n.kind, n.author_id,
            min(n.at) FILTER (WHERE n.kind = 'contact') OVER (PARTITION BY n.business_id, n.conversation_id, n.turn) AS asked_at
        FROM (
            SELECT e.business_id, e.conversation_id, e.id, e.at, e.kind, e.author_id, count(*) FILTER (WHERE e.kind <> 'contact')
                OVER (PARTITION BY e.business_id, e.conversation_id ORDER BY e.at, e.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS turn
            FROM (
                SELECT m.business_id, m.conversation_id, m.id, m.sent_at AS at, m.author AS kind, m.author_id FROM messages m
                WHERE m.author IN ('contact', 'user') AND m.status <> 'failed' AND m.deleted_at IS NULL AND rapport_is_counted(m.sent_at)
                    AND NOT (m.kind = 'system' AND m.author = 'contact')
                UNION ALL
                SELECT c.business_id, c.conversation_id, c.id, c.closed_at AS at, 'closing'::text AS kind, NULL::uuid AS author_id FROM conversation_closings c
            ) e
        ) n
    ) t
    WHERE t.kind = 'user' AND t.asked_at IS NOT NULL;
SELECT rapport_correct_all_statistics();

ALTER TABLE conversations
    -- the account or the group on the other side, whichever of its names is known
    ADD COLUMN peer_id uuid,
    -- when the channel last refused free text because no window was open
    ADD COLUMN window_closed_at timestamptz;
-- one open thread for each side of a channel
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX conversations_peer_id_key ON conversations (business_id, channel_id, peer_id)
    WHERE status <> 'closed' AND deleted_at IS NULL AND peer_id IS NOT NULL;
-- and all of it, closed ones, too
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX conversations_peer_id_idx ON conversations (business_id, channel_id, peer_id, last_message_at, id) WHERE peer_id IS NOT NULL AND deleted_at IS NULL;
SELECT rapport_log_changes('conversations');

CREATE TABLE message_reactions (
    business_id uuid NOT NULL CONSTRAINT message_reactions_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    message_id uuid NOT NULL,
    -- whose it is: each side has one on a message. The id of a peer, or `business`
    reactor text NOT NULL,
    contact_id uuid,
    emoji text NOT NULL,
    external_id text NOT NULL,
    reacted_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- one that was taken back stays, so that an older one that comes late is known as such
    deleted_at timestamptz,
    PRIMARY KEY (business_id, id),
    CONSTRAINT message_reactions_message_id_fkey FOREIGN KEY (business_id, message_id)
        REFERENCES messages (business_id, id) ON DELETE CASCADE,
    CONSTRAINT message_reactions_contact_id_fkey FOREIGN KEY (business_id, contact_id)
        REFERENCES contacts (business_id, id) ON DELETE SET NULL (contact_id)
);
CREATE UNIQUE INDEX message_reactions_reactor_key ON message_reactions (business_id, message_id, reactor);
CREATE INDEX message_reactions_message_id_idx ON message_reactions (business_id, message_id, reacted_at, id);
CREATE INDEX message_reactions_contact_id_idx ON message_reactions (business_id, contact_id, reacted_at, id);
CREATE INDEX message_reactions_reacted_at_idx ON message_reactions (business_id, reacted_at, id);
CREATE INDEX message_reactions_deleted_at_idx ON message_reactions (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
SELECT rapport_log_changes('message_reactions');
SELECT rapport_enable_tenant_rls('message_reactions');

-- What a channel delivered and is not applied: it waits for its message, or failed.
CREATE TABLE inbound_updates (
    business_id uuid NOT NULL CONSTRAINT inbound_updates_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    channel_id uuid NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    -- the channel's id of the message that it waits for
    waits_for text,
    -- of the channel and the update: one that is delivered again is parked once
    digest bytea NOT NULL,
    received_at timestamptz NOT NULL,
    payload jsonb NOT NULL,
    -- hashes of the people that it is about
    people text[] NOT NULL DEFAULT '{}',
    error text,
    attempts integer NOT NULL DEFAULT 1,
    expires_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT inbound_updates_kind_check CHECK (kind IN ('message', 'echo', 'history', 'status', 'reaction', 'edit', 'revoke', 'reply', 'account')),
    CONSTRAINT inbound_updates_state_check CHECK (state IN ('waiting', 'failed') AND (state = 'waiting') = (waits_for IS NOT NULL)),
    CONSTRAINT inbound_updates_channel_id_fkey FOREIGN KEY (business_id, channel_id)
        REFERENCES channels (business_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX inbound_updates_digest_key ON inbound_updates (business_id, digest);
CREATE INDEX inbound_updates_waits_for_idx ON inbound_updates (business_id, waits_for) WHERE waits_for IS NOT NULL;
CREATE INDEX inbound_updates_channel_id_idx ON inbound_updates (business_id, channel_id, created_at, id);
CREATE INDEX inbound_updates_created_at_idx ON inbound_updates (business_id, created_at, id);
CREATE INDEX inbound_updates_people_idx ON inbound_updates USING gin (business_id, people);
CREATE INDEX inbound_updates_expires_at_idx ON inbound_updates (expires_at);
SELECT rapport_log_changes('inbound_updates', 'business_id', '');
SELECT rapport_enable_tenant_rls('inbound_updates');
