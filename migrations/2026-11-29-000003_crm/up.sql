-- Companies, contacts, campaigns and leads.
--
-- Every table of a tenant has the same pattern: primary key (business_id, id); composite foreign keys, so that a link across
-- businesses cannot be written; one btree per sort, ending in id for keyset paging; one per filter that narrows a lot; one
-- GIN over (business, search text, tags, metadata), which serves each of them alone or together; and external_id, the id of
-- the row in the system it came from, which upserts match by: unique in the business among living rows.

-- How duplicates are found: the mailbox that an address leads to, without what follows a `+`, and at Google without dots,
-- which it ignores.
CREATE FUNCTION rapport_mailbox(address text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN host IN ('gmail.com', 'googlemail.com') THEN replace(name, '.', '') || '@gmail.com' ELSE name || '@' || host END
    FROM (SELECT coalesce(nullif(split_part(split_part(lower(address), '@', 1), '+', 1), ''), split_part(lower(address), '@', 1)) AS name,
                 split_part(lower(address), '@', 2) AS host) AS parts
$$;

-- And the name of a company without case, punctuation and legal form.
CREATE FUNCTION rapport_company_name(called text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT btrim(regexp_replace(regexp_replace(lower(called), '[^[:alnum:]]+', ' ', 'g'),
        '( (inc|incorporated|llc|llp|lp|ltd|limited|plc|co|corp|corporation|company|pty|gmbh|mbh|ag|kg|ug|ohg|sa|sas|sarl|srl|spa|sl|bv|nv|oy|ab|as|aps))+ ?$', ''))
$$;

CREATE TABLE companies (
    business_id uuid NOT NULL CONSTRAINT companies_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    name text NOT NULL,
    domain text,
    industry text,
    size text,
    phone text,
    address text,
    owner_id uuid,
    external_id text,
    tags text[] NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search text NOT NULL GENERATED ALWAYS AS (lower(name || ' ' || coalesce(domain, ''))) STORED,
    PRIMARY KEY (business_id, id),
    CONSTRAINT companies_size_check CHECK (size IN ('1-10', '11-50', '51-200', '201-1000', '1001+')),
    CONSTRAINT companies_owner_id_fkey FOREIGN KEY (business_id, owner_id)
        REFERENCES memberships (business_id, user_id) ON DELETE SET NULL (owner_id)
);
CREATE UNIQUE INDEX companies_domain_key ON companies (business_id, lower(domain)) WHERE deleted_at IS NULL;
-- the planner does not use the statistics of an index's expression where the index is partial
CREATE STATISTICS companies_domain_stats ON (lower(domain)) FROM companies;
CREATE UNIQUE INDEX companies_external_id_key ON companies (business_id, external_id) WHERE deleted_at IS NULL;
CREATE INDEX companies_called_idx ON companies (business_id, rapport_company_name(name)) WHERE deleted_at IS NULL;
CREATE STATISTICS companies_called_stats ON (rapport_company_name(name)) FROM companies;
CREATE INDEX companies_phone_idx ON companies (business_id, phone) WHERE deleted_at IS NULL;
CREATE INDEX companies_name_idx ON companies (business_id, lower(name) COLLATE "C", id);
CREATE INDEX companies_created_at_idx ON companies (business_id, created_at, id);
CREATE INDEX companies_updated_at_idx ON companies (business_id, updated_at, id);
CREATE INDEX companies_owner_id_idx ON companies (business_id, owner_id, created_at, id);
CREATE INDEX companies_deleted_at_idx ON companies (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX companies_search_idx ON companies USING gin (business_id, search gin_trgm_ops, tags, metadata jsonb_path_ops);

CREATE TABLE contacts (
    business_id uuid NOT NULL CONSTRAINT contacts_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    company_id uuid,
    first_name text,
    last_name text,
    email text,
    phone text,
    phone_extension text,
    title text,
    owner_id uuid,
    external_id text,
    tags text[] NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    -- what a list is sorted by: last name, then first name
    sort_name text NOT NULL GENERATED ALWAYS AS
        (lower(coalesce(last_name, '') || ' ' || coalesce(first_name, '') || ' ' || coalesce(email, ''))) STORED,
    search text NOT NULL GENERATED ALWAYS AS
        (lower(coalesce(first_name, '') || ' ' || coalesce(last_name, '') || ' ' || coalesce(email, '') || ' '
               || coalesce(phone, ''))) STORED,
    PRIMARY KEY (business_id, id),
    CONSTRAINT contacts_company_id_fkey FOREIGN KEY (business_id, company_id)
        REFERENCES companies (business_id, id) ON DELETE SET NULL (company_id),
    CONSTRAINT contacts_owner_id_fkey FOREIGN KEY (business_id, owner_id)
        REFERENCES memberships (business_id, user_id) ON DELETE SET NULL (owner_id)
);
CREATE UNIQUE INDEX contacts_email_key ON contacts (business_id, lower(email)) WHERE deleted_at IS NULL;
CREATE STATISTICS contacts_email_stats ON (lower(email)) FROM contacts;
CREATE UNIQUE INDEX contacts_external_id_key ON contacts (business_id, external_id) WHERE deleted_at IS NULL;
CREATE INDEX contacts_mailbox_idx ON contacts (business_id, rapport_mailbox(email)) WHERE deleted_at IS NULL;
CREATE STATISTICS contacts_mailbox_stats ON (rapport_mailbox(email)) FROM contacts;
CREATE INDEX contacts_phone_idx ON contacts (business_id, phone, created_at, id);
CREATE INDEX contacts_name_idx ON contacts (business_id, sort_name COLLATE "C", id);
CREATE INDEX contacts_created_at_idx ON contacts (business_id, created_at, id);
CREATE INDEX contacts_updated_at_idx ON contacts (business_id, updated_at, id);
CREATE INDEX contacts_company_id_idx ON contacts (business_id, company_id, created_at, id);
CREATE INDEX contacts_owner_id_idx ON contacts (business_id, owner_id, created_at, id);
CREATE INDEX contacts_deleted_at_idx ON contacts (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX contacts_search_idx ON contacts USING gin (business_id, search gin_trgm_ops, tags, metadata jsonb_path_ops);

CREATE TABLE campaigns (
    business_id uuid NOT NULL CONSTRAINT campaigns_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    name text NOT NULL,
    channel text NOT NULL DEFAULT 'other',
    status text NOT NULL DEFAULT 'draft',
    starts_on date,
    ends_on date,
    budget_minor bigint,
    currency text,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search text NOT NULL GENERATED ALWAYS AS (lower(name)) STORED,
    external_id text,
    PRIMARY KEY (business_id, id),
    CONSTRAINT campaigns_channel_check CHECK (channel IN ('whatsapp', 'sms', 'email', 'web', 'ads', 'event', 'referral', 'other')),
    CONSTRAINT campaigns_status_check CHECK (status IN ('draft', 'active', 'paused', 'finished')),
    CONSTRAINT campaigns_ends_on_check CHECK (ends_on >= starts_on),
    CONSTRAINT campaigns_budget_minor_check CHECK (budget_minor >= 0)
);
CREATE UNIQUE INDEX campaigns_external_id_key ON campaigns (business_id, external_id)
    WHERE external_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX campaigns_name_idx ON campaigns (business_id, lower(name) COLLATE "C", id);
CREATE INDEX campaigns_created_at_idx ON campaigns (business_id, created_at, id);
CREATE INDEX campaigns_deleted_at_idx ON campaigns (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX campaigns_search_idx ON campaigns USING gin (business_id, search gin_trgm_ops, metadata jsonb_path_ops);

CREATE TABLE leads (
    business_id uuid NOT NULL CONSTRAINT leads_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    company_id uuid,
    contact_id uuid,
    campaign_id uuid,
    assignee_id uuid,
    title text NOT NULL,
    status text NOT NULL DEFAULT 'new',
    score integer NOT NULL DEFAULT 0,
    source text,
    value_minor bigint,
    currency text,
    tags text[] NOT NULL DEFAULT '{}',
    entered_at timestamptz NOT NULL DEFAULT now(),
    first_touch_at timestamptz,
    closed_at timestamptz,
    lost_reason text,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search text NOT NULL GENERATED ALWAYS AS (lower(title)) STORED,
    external_id text,
    PRIMARY KEY (business_id, id),
    CONSTRAINT leads_status_check CHECK (status IN ('new', 'contacted', 'qualified', 'proposal', 'won', 'lost')),
    CONSTRAINT leads_score_check CHECK (score BETWEEN 0 AND 100),
    CONSTRAINT leads_value_minor_check CHECK (value_minor >= 0),
    CONSTRAINT leads_company_id_fkey FOREIGN KEY (business_id, company_id)
        REFERENCES companies (business_id, id) ON DELETE SET NULL (company_id),
    CONSTRAINT leads_contact_id_fkey FOREIGN KEY (business_id, contact_id)
        REFERENCES contacts (business_id, id) ON DELETE SET NULL (contact_id),
    CONSTRAINT leads_campaign_id_fkey FOREIGN KEY (business_id, campaign_id)
        REFERENCES campaigns (business_id, id) ON DELETE SET NULL (campaign_id),
    CONSTRAINT leads_assignee_id_fkey FOREIGN KEY (business_id, assignee_id)
        REFERENCES memberships (business_id, user_id) ON DELETE SET NULL (assignee_id)
);
CREATE UNIQUE INDEX leads_external_id_key ON leads (business_id, external_id)
    WHERE external_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX leads_created_at_idx ON leads (business_id, created_at, id);
CREATE INDEX leads_updated_at_idx ON leads (business_id, updated_at, id);
CREATE INDEX leads_score_idx ON leads (business_id, score, id);
CREATE INDEX leads_value_idx ON leads (business_id, (coalesce(value_minor, 0)), id);
CREATE INDEX leads_status_idx ON leads (business_id, status, created_at, id);
CREATE INDEX leads_company_id_idx ON leads (business_id, company_id, created_at, id);
CREATE INDEX leads_contact_id_idx ON leads (business_id, contact_id, created_at, id);
CREATE INDEX leads_campaign_id_idx ON leads (business_id, campaign_id, created_at, id);
CREATE INDEX leads_assignee_id_idx ON leads (business_id, assignee_id, created_at, id);
CREATE INDEX leads_deleted_at_idx ON leads (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX leads_search_idx ON leads USING gin (business_id, search gin_trgm_ops, tags, metadata jsonb_path_ops);

-- Finds a row of the transaction's business by its unique field. These functions run as the owner of the tables: under
-- row-level security the planner cannot use an index on `lower(…)`, which is not leakproof, and reads every row of the
-- business.
CREATE FUNCTION rapport_company_of(host text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT id FROM companies WHERE business_id = rapport_business() AND lower(domain) = lower(host) AND deleted_at IS NULL $$;
CREATE FUNCTION rapport_contact_of(address text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT id FROM contacts WHERE business_id = rapport_business() AND lower(email) = lower(address) AND deleted_at IS NULL $$;
REVOKE EXECUTE ON FUNCTION rapport_company_of(text), rapport_contact_of(text) FROM PUBLIC;

-- The rows that a new one may duplicate, in the transaction's business. As the owner of the tables for the same reason.
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
