-- Which services members of staff perform, and how long and for how much where that differs. Those without any perform all.
CREATE TABLE staff_services (
    business_id uuid NOT NULL CONSTRAINT staff_services_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    staff_id uuid NOT NULL,
    service_id uuid NOT NULL,
    -- null: those of the service
    duration_minutes integer,
    price_minor bigint,
    currency text,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT staff_services_duration_minutes_check CHECK (duration_minutes >= 1 AND duration_minutes <= 10080),
    CONSTRAINT staff_services_price_minor_check CHECK (price_minor >= 0),
    CONSTRAINT staff_services_staff_id_fkey FOREIGN KEY (business_id, staff_id)
        REFERENCES staff (business_id, id) ON DELETE CASCADE,
    CONSTRAINT staff_services_service_id_fkey FOREIGN KEY (business_id, service_id)
        REFERENCES services (business_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX staff_services_service_id_key ON staff_services (business_id, staff_id, service_id);
CREATE INDEX staff_services_service_id_idx ON staff_services (business_id, service_id, created_at, id);
CREATE INDEX staff_services_created_at_idx ON staff_services (business_id, created_at, id);
SELECT rapport_log_changes('staff_services');
SELECT rapport_enable_tenant_rls('staff_services');
