ALTER TABLE api_keys DROP COLUMN permissions;
ALTER TABLE businesses DROP COLUMN agents_see;
