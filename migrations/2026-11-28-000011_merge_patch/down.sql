DROP FUNCTION rapport_merged(jsonb, jsonb, integer, text, text);
DROP FUNCTION rapport_merge_patch(jsonb, jsonb);
