-- Indexes for an inbox of many conversations.

-- the tabs' counts, from the index alone
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX conversations_counts_idx ON conversations (business_id, status) WHERE deleted_at IS NULL;
