DROP TABLE external_users;
