-- Days on which members of staff have other hours than in other weeks, and days on which nobody, or one of them, works.
CREATE TABLE schedule_overrides (
    business_id uuid NOT NULL CONSTRAINT schedule_overrides_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    staff_id uuid NOT NULL,
    day date NOT NULL,
    -- [{"start": "09:00", "end": "17:00"}, …], in the member's own time zone; none: closed
    hours jsonb NOT NULL,
    reason text,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT schedule_overrides_hours_check CHECK (jsonb_typeof(hours) = 'array'),
    CONSTRAINT schedule_overrides_staff_id_fkey FOREIGN KEY (business_id, staff_id)
        REFERENCES staff (business_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX schedule_overrides_day_key ON schedule_overrides (business_id, staff_id, day);
CREATE INDEX schedule_overrides_day_idx ON schedule_overrides (business_id, day, id);
CREATE INDEX schedule_overrides_created_at_idx ON schedule_overrides (business_id, created_at, id);
SELECT rapport_log_changes('schedule_overrides');
SELECT rapport_enable_tenant_rls('schedule_overrides');

CREATE TABLE holidays (
    business_id uuid NOT NULL CONSTRAINT holidays_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    day date NOT NULL,
    name text NOT NULL,
    -- null: everybody's
    staff_id uuid,
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id),
    CONSTRAINT holidays_staff_id_fkey FOREIGN KEY (business_id, staff_id)
        REFERENCES staff (business_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX holidays_day_key ON holidays (business_id, day, staff_id) NULLS NOT DISTINCT;
CREATE INDEX holidays_day_idx ON holidays (business_id, day, id);
CREATE INDEX holidays_staff_id_idx ON holidays (business_id, staff_id, day, id);
CREATE INDEX holidays_created_at_idx ON holidays (business_id, created_at, id);
SELECT rapport_log_changes('holidays');
SELECT rapport_enable_tenant_rls('holidays');
