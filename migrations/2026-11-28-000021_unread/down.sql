DO $do$
BEGIN
    EXECUTE replace(pg_get_functiondef('rapport_audited()'::regprocedure), ' ''unread_new'', ''unread_since'',', '');
END $do$;
DROP TRIGGER conversations_marked ON conversations;
DROP TRIGGER conversations_begun ON conversations;
DROP FUNCTION rapport_marked();
ALTER TABLE conversations DROP COLUMN unread_since, DROP COLUMN unread_new;
