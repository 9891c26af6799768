-- What channels charge for messages, by market, category and the day from which it counts. Messages get their cost by it.
CREATE TABLE message_rates (
    business_id uuid NOT NULL CONSTRAINT message_rates_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    external_id text,
    market text NOT NULL,
    category text NOT NULL,
    valid_from date NOT NULL,
    amount numeric(14, 6) NOT NULL,
    currency text NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    PRIMARY KEY (business_id, id),
    CONSTRAINT message_rates_category_check CHECK (category IN ('marketing', 'utility', 'authentication',
        'authentication_international', 'service', 'referral_conversion')),
    CONSTRAINT message_rates_amount_check CHECK (amount >= 0)
);
CREATE UNIQUE INDEX message_rates_external_id_key ON message_rates (business_id, external_id) WHERE deleted_at IS NULL;
-- It finds the rate of a message, too.
CREATE UNIQUE INDEX message_rates_valid_from_key ON message_rates (business_id, market, category, valid_from) WHERE deleted_at IS NULL;
CREATE INDEX message_rates_created_at_idx ON message_rates (business_id, created_at, id);
CREATE INDEX message_rates_deleted_at_idx ON message_rates (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX message_rates_metadata_idx ON message_rates USING gin (business_id, metadata jsonb_path_ops);
SELECT rapport_log_changes('message_rates');
SELECT rapport_enable_tenant_rls('message_rates');

-- Messages that are charged and have no cost yet: priced when rates change.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX messages_unpriced_idx ON messages (business_id, id)
    WHERE cost IS NULL AND (pricing ->> 'billable' = 'true' OR pricing ->> 'type' = 'regular');

-- squawk-ignore ban-drop-constraint
ALTER TABLE imports DROP CONSTRAINT imports_resource_check;
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE imports ADD CONSTRAINT imports_resource_check
    CHECK (resource IN ('contacts', 'companies', 'leads', 'tasks', 'message-rates'));
