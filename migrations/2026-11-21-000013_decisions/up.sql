-- What was decided about a lead, by a person, a model or a rule. Rows are added and never changed by the service, but for a
-- person who is forgotten.

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
SELECT rapport_cache('decisions');
SELECT rapport_wall('decisions');
SELECT rapport_audit('decisions');

-- Who is found by what is unique: as the owner of the tables, because under row-level security the comparison with
-- `lower(…)` waits until every row of the business was looked at. Only of the business that the transaction is confined to.
CREATE FUNCTION rapport_company_of(host text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT id FROM companies WHERE business_id = rapport_business() AND lower(domain) = lower(host) AND deleted_at IS NULL $$;
CREATE FUNCTION rapport_contact_of(address text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT id FROM contacts WHERE business_id = rapport_business() AND lower(email) = lower(address) AND deleted_at IS NULL $$;
REVOKE EXECUTE ON FUNCTION rapport_company_of(text), rapport_contact_of(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rapport_company_of(text), rapport_contact_of(text) TO rapport_tenant;
