ALTER TABLE staff DROP COLUMN schedule_set_at;
SELECT rapport_log_changes('staff');
DROP TABLE schedule_hours;
DROP FUNCTION rapport_log_schedule_hours();
