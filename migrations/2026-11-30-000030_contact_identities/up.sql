-- By what names channels know people: numbers, ids, usernames. A person may have several, and change them. Names of one account, or of a
-- group, share a peer; threads hang on the peer, so merging contacts moves no thread.
CREATE TABLE contact_identities (
    business_id uuid NOT NULL CONSTRAINT contact_identities_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    contact_id uuid,
    peer_id uuid NOT NULL,
    kind text NOT NULL,
    -- within what it is unique: the business portfolio of a user id
    scope text NOT NULL DEFAULT '',
    value text NOT NULL,
    -- of numbers: how all national spellings of a line are written alike
    match_key text,
    trust text NOT NULL DEFAULT 'verified',
    superseded_at timestamptz,
    -- of the first identity of a peer: the name that it showed first, and whether its contact was named by it
    profile_name text,
    profile_name_at timestamptz,
    profile_name_by text,
    names_contact boolean NOT NULL DEFAULT false,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT contact_identities_kind_check CHECK (kind IN ('wa_id', 'phone', 'user_id', 'parent_user_id', 'username', 'group')),
    CONSTRAINT contact_identities_trust_check CHECK (trust IN ('verified', 'claimed')),
    CONSTRAINT contact_identities_contact_id_fkey FOREIGN KEY (business_id, contact_id)
        REFERENCES contacts (business_id, id) ON DELETE SET NULL (contact_id)
);
CREATE UNIQUE INDEX contact_identities_value_key ON contact_identities (business_id, kind, scope, value) WHERE superseded_at IS NULL;
CREATE INDEX contact_identities_value_idx ON contact_identities (business_id, value);
CREATE INDEX contact_identities_match_key_idx ON contact_identities (business_id, match_key) WHERE match_key IS NOT NULL;
CREATE INDEX contact_identities_contact_id_idx ON contact_identities (business_id, contact_id, created_at, id);
CREATE INDEX contact_identities_peer_id_idx ON contact_identities (business_id, peer_id, id);
CREATE INDEX contact_identities_created_at_idx ON contact_identities (business_id, created_at, id);
SELECT rapport_log_changes('contact_identities');
SELECT rapport_enable_tenant_rls('contact_identities');

-- Pairs of contacts that may be one person: nothing is merged unasked.
CREATE TABLE duplicate_proposals (
    business_id uuid NOT NULL CONSTRAINT duplicate_proposals_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    contact_id uuid NOT NULL,
    other_id uuid NOT NULL,
    reason text NOT NULL,
    status text NOT NULL DEFAULT 'open',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT duplicate_proposals_status_check CHECK (status IN ('open', 'dismissed', 'merged')),
    CONSTRAINT duplicate_proposals_contact_id_fkey FOREIGN KEY (business_id, contact_id)
        REFERENCES contacts (business_id, id) ON DELETE CASCADE,
    CONSTRAINT duplicate_proposals_other_id_fkey FOREIGN KEY (business_id, other_id)
        REFERENCES contacts (business_id, id) ON DELETE CASCADE
);
CREATE INDEX duplicate_proposals_contact_id_idx ON duplicate_proposals (business_id, contact_id, created_at, id);
CREATE INDEX duplicate_proposals_other_id_idx ON duplicate_proposals (business_id, other_id, created_at, id);
CREATE INDEX duplicate_proposals_status_idx ON duplicate_proposals (business_id, status, created_at, id);
CREATE INDEX duplicate_proposals_created_at_idx ON duplicate_proposals (business_id, created_at, id);
-- A merge moves the references to the survivor: then both sides are one.
CREATE FUNCTION rapport_proposal_merged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.status := 'merged';
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION rapport_proposal_merged() FROM PUBLIC;
CREATE TRIGGER duplicate_proposals_merged BEFORE UPDATE ON duplicate_proposals FOR EACH ROW
    WHEN (NEW.contact_id = NEW.other_id AND NEW.status = 'open') EXECUTE FUNCTION rapport_proposal_merged();
ALTER TABLE duplicate_proposals ENABLE ALWAYS TRIGGER duplicate_proposals_merged;
SELECT rapport_log_changes('duplicate_proposals');
SELECT rapport_enable_tenant_rls('duplicate_proposals');

-- What a channel delivers of its past makes no entries in the audit log, hence no events: nothing is woken by old messages. Validation rounds
-- see the changes as always.
DO $$ BEGIN
    EXECUTE replace(pg_get_functiondef('rapport_log_changes(regclass, text, text, boolean)'::regprocedure),
        $before$IF current_setting('session_replication_role') = 'replica' THEN$before$,
        $after$IF current_setting('session_replication_role') = 'replica' OR current_setting('rapport.silent', true) = 'on' THEN$after$);
END $$;
SELECT rapport_log_changes('businesses', 'id');
SELECT rapport_log_changes('users', NULL);
SELECT rapport_log_changes('memberships');
SELECT rapport_log_changes('api_keys');
SELECT rapport_log_changes('sessions', 'business_id', 'INSERT DELETE');
SELECT rapport_log_changes('invitations');
SELECT rapport_log_changes('companies');
SELECT rapport_log_changes('contacts');
SELECT rapport_log_changes('campaigns');
SELECT rapport_log_changes('leads');
SELECT rapport_log_changes('conversations');
SELECT rapport_log_changes('messages');
SELECT rapport_log_changes('services');
SELECT rapport_log_changes('staff');
SELECT rapport_log_changes('bookings');
SELECT rapport_log_changes('tasks');
SELECT rapport_log_changes('notes');
SELECT rapport_log_changes('decisions');
SELECT rapport_log_changes('merges');
SELECT rapport_log_changes('webhooks');
SELECT rapport_log_changes('jobs', 'business_id', 'INSERT UPDATE', false);
SELECT rapport_log_changes('imports', 'business_id', 'INSERT UPDATE', false);
SELECT rapport_log_changes('external_users');
SELECT rapport_log_changes('channels');
SELECT rapport_log_changes('channel_secrets');
SELECT rapport_log_changes('message_reactions');
SELECT rapport_log_changes('inbound_updates', 'business_id', '');
SELECT rapport_log_changes('contact_identities');
SELECT rapport_log_changes('duplicate_proposals');
