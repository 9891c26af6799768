-- Weekly hours of members of staff, in minutes of their own time zone: half-open intervals that begin on a weekday and may go on after its
-- midnight. They are replaced as a whole.
CREATE TABLE schedule_hours (
    business_id uuid NOT NULL CONSTRAINT schedule_hours_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT rapport_uuid_v7(),
    staff_id uuid NOT NULL,
    -- from Monday, 1
    weekday smallint NOT NULL,
    kind text NOT NULL,
    -- of breaks after midnight they are those of the day before, too: 1500 is 01:00
    starts_minute integer NOT NULL,
    ends_minute integer NOT NULL,
    PRIMARY KEY (business_id, id),
    CONSTRAINT schedule_hours_weekday_check CHECK (weekday >= 1 AND weekday <= 7),
    CONSTRAINT schedule_hours_kind_check CHECK (kind IN ('work', 'break')),
    CONSTRAINT schedule_hours_starts_minute_check CHECK (starts_minute >= 0 AND starts_minute <= 2879),
    CONSTRAINT schedule_hours_ends_minute_check CHECK (ends_minute >= 1 AND ends_minute <= 2880 AND ends_minute > starts_minute),
    CONSTRAINT schedule_hours_staff_id_fkey FOREIGN KEY (business_id, staff_id)
        REFERENCES staff (business_id, id) ON DELETE CASCADE
);
-- (By it they are read, too.)
CREATE UNIQUE INDEX schedule_hours_starts_minute_key ON schedule_hours (business_id, staff_id, weekday, kind, starts_minute);
-- Without entries in the audit log: that the hours of a member changed is a change of the member.
SELECT rapport_log_changes('schedule_hours', 'business_id', '');
SELECT rapport_enable_tenant_rls('schedule_hours');

-- When the weekly hours were last set; null: never. So a change of them is one of the member: for its version, history and events.
ALTER TABLE staff ADD COLUMN schedule_set_at timestamptz;
SELECT rapport_log_changes('staff');
