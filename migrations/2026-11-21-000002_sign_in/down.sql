ALTER TABLE api_keys DROP COLUMN previous_until, DROP COLUMN previous_hash, DROP COLUMN expires_at;
DROP TABLE service_secrets;
DROP TABLE refresh_tokens;
DROP TABLE sessions;
DROP TABLE passwords;
