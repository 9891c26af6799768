DROP FUNCTION rapport_merge_patch_limited(jsonb, jsonb, integer, text, text);
DROP FUNCTION rapport_merge_patch(jsonb, jsonb);
DROP FUNCTION rapport_business();
DROP FUNCTION rapport_uuid_v7();
DROP EXTENSION IF EXISTS btree_gist;
DROP EXTENSION IF EXISTS btree_gin;
DROP EXTENSION IF EXISTS pg_trgm;
