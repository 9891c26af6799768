DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT tgname, tgrelid::regclass AS cached FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'cache\_%' LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.cached);
    END LOOP;
END $$;
DROP FUNCTION rapport_track_versions(regclass, text);
DROP FUNCTION rapport_version_trigger_user();
DROP FUNCTION rapport_version_trigger_business();
DROP FUNCTION rapport_version_trigger();
DROP FUNCTION rapport_bump_all_versions(uuid, text);
DROP FUNCTION rapport_bump_version(uuid, text, integer);
DROP FUNCTION rapport_scope_key(uuid, text, integer);
DROP FUNCTION rapport_bucket(uuid);
DROP TABLE cache_warmup_queries;
DROP TABLE cache_epoch;
DROP TABLE cache_versions;
DROP SEQUENCE cache_version_slots;
DROP SEQUENCE cache_version_values;
