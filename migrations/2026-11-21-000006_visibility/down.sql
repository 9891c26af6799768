ALTER TABLE api_keys DROP COLUMN permissions;
ALTER TABLE businesses DROP COLUMN erasure, DROP COLUMN agents_see;
