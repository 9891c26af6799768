DROP FUNCTION rapport_erase_user(uuid);
DROP FUNCTION rapport_add_person(uuid, text, text);
DROP FUNCTION rapport_belongs_elsewhere(uuid);
DROP TABLE oidc_login_attempts, identities, invitations, password_tokens, service_secrets, refresh_tokens, sessions, passwords;
DROP VIEW business_users;
DROP TABLE api_keys, memberships, users, businesses;
