ALTER TABLE staff DROP COLUMN priority, DROP COLUMN max_per_day;
SELECT rapport_log_changes('staff');
ALTER TABLE services DROP COLUMN buffer_before_minutes, DROP COLUMN buffer_after_minutes, DROP COLUMN slot_interval_minutes,
    DROP COLUMN min_notice_minutes, DROP COLUMN horizon_days, DROP COLUMN capacity, DROP COLUMN max_per_day,
    DROP COLUMN cancel_until_minutes, DROP COLUMN reschedule_until_minutes, DROP COLUMN requires_confirmation;
SELECT rapport_log_changes('services');
