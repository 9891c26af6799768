DROP TABLE holidays, schedule_overrides;
DROP FUNCTION rapport_log_holidays(), rapport_log_schedule_overrides();
