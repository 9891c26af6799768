-- What services and staff say of bookings: room around them, how early and how late, how many.
-- (Constant defaults: no row is written anew. The checks read the rows once; a business has few.)
ALTER TABLE services
    -- blocked beside each booking, and no part of it
    ADD COLUMN buffer_before_minutes integer NOT NULL DEFAULT 0,
    ADD COLUMN buffer_after_minutes integer NOT NULL DEFAULT 0,
    ADD COLUMN slot_interval_minutes integer NOT NULL DEFAULT 15,
    -- elapsed minutes between the booking and its start
    ADD COLUMN min_notice_minutes integer NOT NULL DEFAULT 0,
    -- calendar days of the calendar's zone, today not counted
    ADD COLUMN horizon_days integer NOT NULL DEFAULT 90,
    ADD COLUMN capacity integer NOT NULL DEFAULT 1,
    ADD COLUMN max_per_day integer,
    -- minutes before the start; null: until the start
    ADD COLUMN cancel_until_minutes integer,
    ADD COLUMN reschedule_until_minutes integer,
    ADD COLUMN requires_confirmation boolean NOT NULL DEFAULT false,
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT services_buffer_before_minutes_check CHECK (buffer_before_minutes >= 0 AND buffer_before_minutes <= 1440),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT services_buffer_after_minutes_check CHECK (buffer_after_minutes >= 0 AND buffer_after_minutes <= 1440),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT services_slot_interval_minutes_check CHECK (slot_interval_minutes >= 5 AND slot_interval_minutes <= 1440),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT services_min_notice_minutes_check CHECK (min_notice_minutes >= 0 AND min_notice_minutes <= 525600),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT services_horizon_days_check CHECK (horizon_days >= 1 AND horizon_days <= 730),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT services_capacity_check CHECK (capacity >= 1 AND capacity <= 500),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT services_max_per_day_check CHECK (max_per_day >= 1 AND max_per_day <= 10000),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT services_cancel_until_minutes_check CHECK (cancel_until_minutes >= 0 AND cancel_until_minutes <= 525600),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT services_reschedule_until_minutes_check CHECK (reschedule_until_minutes >= 0 AND reschedule_until_minutes <= 525600);
SELECT rapport_log_changes('services');

ALTER TABLE staff
    -- smaller numbers come first
    ADD COLUMN priority integer NOT NULL DEFAULT 50,
    ADD COLUMN max_per_day integer,
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT staff_priority_check CHECK (priority >= 0 AND priority <= 1000),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT staff_max_per_day_check CHECK (max_per_day >= 1 AND max_per_day <= 10000);
SELECT rapport_log_changes('staff');
