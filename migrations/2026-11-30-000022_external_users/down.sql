DROP TABLE external_users;
DROP FUNCTION rapport_log_external_users();
