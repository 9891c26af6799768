-- Rows that are the same person or company: how they are found, and what is known of those that were merged.

-- The mailbox that an address leads to: without what follows a `+`, and at Google without dots, which it ignores.
CREATE FUNCTION rapport_mailbox(address text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN host IN ('gmail.com', 'googlemail.com') THEN replace(name, '.', '') || '@gmail.com' ELSE name || '@' || host END
    FROM (SELECT coalesce(nullif(split_part(split_part(lower(address), '@', 1), '+', 1), ''), split_part(lower(address), '@', 1)) AS name,
                 split_part(lower(address), '@', 2) AS host) AS parts
$$;

-- What a company is called, without case, punctuation and the name of its legal form.
CREATE FUNCTION rapport_company_name(called text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT btrim(regexp_replace(regexp_replace(lower(called), '[^[:alnum:]]+', ' ', 'g'),
        '( (inc|incorporated|llc|llp|lp|ltd|limited|plc|co|corp|corporation|company|pty|gmbh|mbh|ag|kg|ug|ohg|sa|sas|sarl|srl|spa|sl|bv|nv|oy|ab|as|aps))+ ?$', ''))
$$;

CREATE INDEX contacts_mailbox_idx ON contacts (business_id, rapport_mailbox(email)) WHERE deleted_at IS NULL;
CREATE STATISTICS contacts_mailbox_stats ON (rapport_mailbox(email)) FROM contacts;
CREATE INDEX companies_phone_idx ON companies (business_id, phone) WHERE deleted_at IS NULL;
CREATE INDEX companies_called_idx ON companies (business_id, rapport_company_name(name)) WHERE deleted_at IS NULL;
CREATE STATISTICS companies_called_stats ON (rapport_company_name(name)) FROM companies;

-- Rows that a new one could be the same as, of the business that the transaction is confined to. As the owner of the tables,
-- because under row-level security such comparisons wait until every row of the business was looked at.
CREATE FUNCTION rapport_contacts_like(address text, number text, outside text, employer uuid, called text) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT id FROM contacts WHERE business_id = rapport_business() AND deleted_at IS NULL AND lower(email) = lower(address)
    UNION SELECT id FROM contacts WHERE business_id = rapport_business() AND deleted_at IS NULL AND external_id = outside
    UNION (SELECT id FROM contacts WHERE business_id = rapport_business() AND deleted_at IS NULL AND phone = number LIMIT 50)
    UNION (SELECT id FROM (SELECT id, first_name, last_name FROM contacts
            WHERE business_id = rapport_business() AND deleted_at IS NULL AND company_id = employer AND called <> ''
            ORDER BY created_at DESC LIMIT 1000) AS colleagues
        WHERE similarity(concat_ws(' ', first_name, last_name), called) >= 0.85 LIMIT 50)
$$;
CREATE FUNCTION rapport_companies_like(host text, number text, outside text, called text) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT id FROM companies WHERE business_id = rapport_business() AND deleted_at IS NULL
        AND lower(domain) IN (lower(host), 'www.' || lower(host))
    UNION SELECT id FROM companies WHERE business_id = rapport_business() AND deleted_at IS NULL AND external_id = outside
    UNION (SELECT id FROM companies WHERE business_id = rapport_business() AND deleted_at IS NULL AND phone = number LIMIT 50)
    UNION (SELECT id FROM companies WHERE business_id = rapport_business() AND deleted_at IS NULL
            AND rapport_company_name(name) = rapport_company_name(called) LIMIT 50)
$$;
REVOKE EXECUTE ON FUNCTION rapport_contacts_like(text, text, text, uuid, text), rapport_companies_like(text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rapport_contacts_like(text, text, text, uuid, text), rapport_companies_like(text, text, text, text) TO rapport_tenant;

CREATE TABLE merges (
    business_id uuid NOT NULL CONSTRAINT merges_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    -- whose rows; no foreign keys, because there are two
    noun text NOT NULL,
    survivor_id uuid NOT NULL,
    from_ids text[] NOT NULL,
    -- how many rows of each noun lead to the survivor since
    moved jsonb NOT NULL DEFAULT '{}',
    -- which: {"leads.contact_id": {"<from>": ["<lead>", …]}}
    links jsonb NOT NULL DEFAULT '{}',
    -- the survivor's fields: {"email": {"old": null, "new": "…"}}
    changes jsonb NOT NULL DEFAULT '{}',
    reversible_until timestamptz NOT NULL,
    reverted_at timestamptz,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT merges_noun_check CHECK (noun IN ('contacts', 'companies'))
);
CREATE INDEX merges_created_at_idx ON merges (business_id, created_at, id);
CREATE INDEX merges_survivor_id_idx ON merges (business_id, survivor_id, created_at, id);
CREATE INDEX merges_from_ids_idx ON merges USING gin (business_id, from_ids);
SELECT rapport_cache('merges');
SELECT rapport_wall('merges');
SELECT rapport_audit('merges');

-- Moves one version, as before, and above read committed takes a slot that is there where it can.
CREATE OR REPLACE FUNCTION rapport_move(business uuid, moved text, part integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this constant bigint := pg_current_xact_id()::text::bigint;
    here constant bigint := rapport_place(business, moved, part);
    free tid;
    mine boolean;
BEGIN
    -- Under a snapshot that spans the transaction, a slot that changed since then cannot be locked (40001): the one that was
    -- moved longest ago is the likeliest that has not. Only where that has changed too there is a new one: were it so each
    -- time, the slots of a busy business would be as many as its transactions.
    IF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT ctid, moved_by = this INTO free, mine FROM cache_versions
        WHERE place = here
        LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF mine THEN
            RETURN;
        ELSIF FOUND THEN
            -- Above what it was, whatever became of the sequence.
            UPDATE cache_versions SET value = greatest(value + 1, nextval('cache_version_values')), moved_by = this
            WHERE ctid = free AND place = here;
            IF FOUND THEN
                RETURN;
            END IF;
        END IF;
    ELSE
        PERFORM FROM cache_versions
        WHERE place = here AND moved_by = this;
        IF FOUND THEN
            RETURN;
        END IF;
        BEGIN
            SELECT ctid INTO free FROM cache_versions WHERE place = here ORDER BY value LIMIT 1 FOR UPDATE SKIP LOCKED;
            UPDATE cache_versions SET value = greatest(value + 1, nextval('cache_version_values')), moved_by = this
            WHERE ctid = free AND place = here;
            IF FOUND THEN
                RETURN;
            END IF;
        EXCEPTION
            WHEN serialization_failure THEN NULL;
        END;
    END IF;
    INSERT INTO cache_versions (business_id, scope, bucket, place, slot, value, moved_by)
    VALUES (business, moved, part, here, nextval('cache_version_slots'), nextval('cache_version_values'), this);
END $$;
