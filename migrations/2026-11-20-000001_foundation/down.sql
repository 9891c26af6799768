DROP VIEW business_users;
DROP TABLE api_keys, memberships, users, businesses;
DROP FUNCTION rapport_uuid_v7();
DROP EXTENSION IF EXISTS btree_gist;
DROP EXTENSION IF EXISTS btree_gin;
DROP EXTENSION IF EXISTS pg_trgm;
