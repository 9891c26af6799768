DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT tgname, tgrelid::regclass AS cached FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'cache\_%' LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.cached);
    END LOOP;
END $$;
DROP FUNCTION rapport_cache(regclass, text);
DROP FUNCTION rapport_moved_user();
DROP FUNCTION rapport_moved_business();
DROP FUNCTION rapport_moved();
DROP FUNCTION rapport_move_all(uuid, text);
DROP FUNCTION rapport_move(uuid, text, integer);
DROP FUNCTION rapport_place(uuid, text, integer);
DROP FUNCTION rapport_bucket(uuid);
DROP TABLE cache_questions;
DROP TABLE cache_incarnation;
DROP TABLE cache_versions;
DROP SEQUENCE cache_version_slots;
DROP SEQUENCE cache_version_values;
