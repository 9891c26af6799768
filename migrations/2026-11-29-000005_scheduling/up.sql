-- Services, the staff that performs them, and bookings.

CREATE TABLE services (
    business_id uuid NOT NULL CONSTRAINT services_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    name text NOT NULL,
    description text,
    duration_minutes integer NOT NULL,
    price_minor bigint,
    currency text,
    active boolean NOT NULL DEFAULT true,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search text NOT NULL GENERATED ALWAYS AS (lower(name)) STORED,
    external_id text,
    PRIMARY KEY (business_id, id),
    CONSTRAINT services_duration_minutes_check CHECK (duration_minutes BETWEEN 1 AND 10080),
    CONSTRAINT services_price_minor_check CHECK (price_minor >= 0)
);
CREATE UNIQUE INDEX services_external_id_key ON services (business_id, external_id)
    WHERE external_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX services_name_idx ON services (business_id, lower(name) COLLATE "C", id);
CREATE INDEX services_created_at_idx ON services (business_id, created_at, id);
CREATE INDEX services_deleted_at_idx ON services (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX services_search_idx ON services USING gin (business_id, search gin_trgm_ops, metadata jsonb_path_ops);

CREATE TABLE staff (
    business_id uuid NOT NULL CONSTRAINT staff_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    user_id uuid,
    name text NOT NULL,
    email text,
    phone text,
    time_zone text NOT NULL DEFAULT 'UTC',
    active boolean NOT NULL DEFAULT true,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search text NOT NULL GENERATED ALWAYS AS (lower(name || ' ' || coalesce(email, ''))) STORED,
    external_id text,
    PRIMARY KEY (business_id, id),
    CONSTRAINT staff_user_id_fkey FOREIGN KEY (business_id, user_id)
        REFERENCES memberships (business_id, user_id) ON DELETE SET NULL (user_id)
);
CREATE UNIQUE INDEX staff_external_id_key ON staff (business_id, external_id)
    WHERE external_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX staff_name_idx ON staff (business_id, lower(name) COLLATE "C", id);
CREATE INDEX staff_created_at_idx ON staff (business_id, created_at, id);
CREATE INDEX staff_user_id_idx ON staff (business_id, user_id, created_at, id);
CREATE INDEX staff_deleted_at_idx ON staff (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX staff_search_idx ON staff USING gin (business_id, search gin_trgm_ops, metadata jsonb_path_ops);

CREATE TABLE bookings (
    business_id uuid NOT NULL CONSTRAINT bookings_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    code text NOT NULL,
    service_id uuid,
    staff_id uuid,
    contact_id uuid,
    lead_id uuid,
    customer_name text NOT NULL,
    customer_phone text,
    customer_email text,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    time_zone text NOT NULL,
    -- the calendar day it starts on in its own zone, kept by the service: zone rules do not belong into an index
    day date NOT NULL,
    status text NOT NULL DEFAULT 'confirmed',
    price_minor bigint,
    currency text,
    notes text,
    metadata jsonb NOT NULL DEFAULT '{}',
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    search text NOT NULL GENERATED ALWAYS AS
        (lower(code || ' ' || customer_name || ' ' || coalesce(customer_phone, '') || ' ' || coalesce(customer_email, ''))) STORED,
    reminded_at timestamptz,
    external_id text,
    PRIMARY KEY (business_id, id),
    CONSTRAINT bookings_code_key UNIQUE (business_id, code),
    CONSTRAINT bookings_ends_at_check CHECK (ends_at > starts_at),
    CONSTRAINT bookings_status_check CHECK (status IN ('held', 'pending', 'confirmed', 'completed', 'cancelled', 'no_show')),
    CONSTRAINT bookings_price_minor_check CHECK (price_minor >= 0),
    CONSTRAINT bookings_service_id_fkey FOREIGN KEY (business_id, service_id)
        REFERENCES services (business_id, id) ON DELETE SET NULL (service_id),
    CONSTRAINT bookings_staff_id_fkey FOREIGN KEY (business_id, staff_id)
        REFERENCES staff (business_id, id) ON DELETE SET NULL (staff_id),
    CONSTRAINT bookings_contact_id_fkey FOREIGN KEY (business_id, contact_id)
        REFERENCES contacts (business_id, id) ON DELETE SET NULL (contact_id),
    CONSTRAINT bookings_lead_id_fkey FOREIGN KEY (business_id, lead_id)
        REFERENCES leads (business_id, id) ON DELETE SET NULL (lead_id),
    -- one staff member cannot be in two places: half-open, so that 10:00-11:00 and 11:00-12:00 are neighbours
    CONSTRAINT bookings_staff_overlap EXCLUDE USING gist
        (business_id WITH =, staff_id WITH =, tstzrange(starts_at, ends_at) WITH &&)
        WHERE (status IN ('held', 'pending', 'confirmed') AND deleted_at IS NULL)
);
CREATE UNIQUE INDEX bookings_external_id_key ON bookings (business_id, external_id)
    WHERE external_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX bookings_starts_at_idx ON bookings (business_id, starts_at, id);
CREATE INDEX bookings_created_at_idx ON bookings (business_id, created_at, id);
CREATE INDEX bookings_day_idx ON bookings (business_id, day, status, starts_at, id);
CREATE INDEX bookings_status_idx ON bookings (business_id, status, starts_at, id);
CREATE INDEX bookings_customer_phone_idx ON bookings (business_id, customer_phone, starts_at, id);
CREATE INDEX bookings_service_id_idx ON bookings (business_id, service_id, starts_at, id);
CREATE INDEX bookings_staff_id_idx ON bookings (business_id, staff_id, starts_at, id);
CREATE INDEX bookings_contact_id_idx ON bookings (business_id, contact_id, starts_at, id);
CREATE INDEX bookings_lead_id_idx ON bookings (business_id, lead_id, starts_at, id);
CREATE INDEX bookings_deleted_at_idx ON bookings (business_id, deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX bookings_search_idx ON bookings USING gin (business_id, search gin_trgm_ops, metadata jsonb_path_ops);
-- whose reminder is still to come
CREATE INDEX bookings_reminder_idx ON bookings (starts_at)
    WHERE reminded_at IS NULL AND status IN ('held', 'pending', 'confirmed') AND deleted_at IS NULL;
