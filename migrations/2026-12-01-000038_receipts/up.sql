-- Read receipts, the free window after an advertisement, and customers who want no marketing messages.

-- Columns without entries in the audit log: derived ones.
DO $$ BEGIN
    EXECUTE replace(pg_get_functiondef('rapport_audit_omitted()'::regprocedure), '''window_expires_at'',',
        '''window_expires_at'', ''free_entry_expires_at'', ''marketing_changed_at'',');
END $$;

-- Whether customers are shown that their messages were read, and that an answer is being written.
ALTER TABLE channels ADD COLUMN sends_read_receipts boolean NOT NULL DEFAULT true;
SELECT rapport_log_changes('channels');

-- Until when messages are free of charge, after one that an advertisement brought.
ALTER TABLE conversations ADD COLUMN free_entry_expires_at timestamptz;
-- (Without the log of changes, which would have a row for each; one of all in a business is enough.)
ALTER TABLE conversations DISABLE TRIGGER log_change;
UPDATE conversations v SET free_entry_expires_at = m.came + interval '72 hours' FROM (
    SELECT business_id, conversation_id, max(least(sent_at, created_at + interval '1 day')) AS came FROM messages
    WHERE direction = 'inbound' AND kind <> 'system' AND origin <> 'history' AND deleted_at IS NULL
        AND payload->'referral'->>'source_type' = 'ad' GROUP BY 1, 2) m
WHERE v.business_id = m.business_id AND v.id = m.conversation_id AND v.channel = 'whatsapp';
ALTER TABLE conversations ENABLE ALWAYS TRIGGER log_change;
SELECT rapport_log_all(id, 'conversations') FROM businesses;
SELECT rapport_log_changes('conversations');

ALTER TABLE contact_identities
    -- when the person stopped marketing messages; null: they may be sent
    ADD COLUMN marketing_opted_out_at timestamptz,
    -- when that last changed: what the channel tells of before is late
    ADD COLUMN marketing_changed_at timestamptz;
SELECT rapport_log_changes('contact_identities');

-- The message of a conversation that is to be marked as read on its channel, or was last. One for each conversation: a newer message takes its
-- place, and none is marked twice.
CREATE TABLE read_receipts (
    business_id uuid NOT NULL CONSTRAINT read_receipts_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    -- of the conversation
    id uuid NOT NULL,
    channel_id uuid NOT NULL,
    message_id uuid NOT NULL,
    -- of the message
    sent_at timestamptz NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT now(),
    -- when it is sent or, while a process sends it, claimed again; null: it is over
    due_at timestamptz DEFAULT now(),
    tries integer NOT NULL DEFAULT 0,
    claim bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (business_id, id),
    CONSTRAINT read_receipts_id_fkey FOREIGN KEY (business_id, id)
        REFERENCES conversations (business_id, id) ON DELETE CASCADE
);
CREATE INDEX read_receipts_due_at_idx ON read_receipts (business_id, channel_id, due_at) WHERE due_at IS NOT NULL;
SELECT rapport_enable_tenant_rls('read_receipts');
