-- Releases of the data of time zones by which the days of all bookings have been checked. A day is stored with its booking; new
-- rules of a zone change it.
CREATE TABLE booking_day_checks (
    release text PRIMARY KEY,
    checked_at timestamptz NOT NULL DEFAULT now()
);
