DROP TABLE staff_services;
DROP FUNCTION rapport_log_staff_services();
