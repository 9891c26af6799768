DROP INDEX tasks_reminder_idx, bookings_reminder_idx;
ALTER TABLE tasks DROP COLUMN reminded_at;
ALTER TABLE bookings DROP COLUMN reminded_at;
DROP TABLE job_runs, jobs;
