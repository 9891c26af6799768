-- Indexes for an inbox of many conversations.

-- the tabs' counts, from the index alone
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX conversations_counts_idx ON conversations (business_id, status) WHERE deleted_at IS NULL;
-- the tab of what is snoozed
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX conversations_snoozed_idx ON conversations (business_id, last_message_at, id) WHERE snoozed_until IS NOT NULL;
