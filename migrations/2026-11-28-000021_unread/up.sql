-- The unread count of a conversation equals a recount, also after messages were deleted, brought back or read.

-- How many of `unread_count` are messages that came since it was last set to a number, and when that was. Of conversations that
-- are there, what was counted until now is kept as if it had been set now.
ALTER TABLE conversations
    ADD COLUMN unread_new integer NOT NULL DEFAULT 0 CONSTRAINT conversations_unread_new_check CHECK (unread_new >= 0),
    ADD COLUMN unread_since timestamptz NOT NULL DEFAULT now();
ALTER TABLE conversations ALTER COLUMN unread_since SET DEFAULT '-infinity';

-- The count is set: what is counted begins anew. By the clock and not by the transaction's time: the row is locked here, so
-- whatever was added to it before has an earlier time. (The service's own changes move both numbers alike.)
CREATE FUNCTION rapport_marked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.unread_new := 0;
    NEW.unread_since := clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER conversations_marked BEFORE UPDATE ON conversations FOR EACH ROW
    WHEN (NEW.unread_count <> OLD.unread_count AND NEW.unread_new = OLD.unread_new)
    EXECUTE FUNCTION rapport_marked();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER conversations_marked;
-- and where a conversation begins with one: it tells of messages that are elsewhere, or were put here beside it
CREATE TRIGGER conversations_begun BEFORE INSERT ON conversations FOR EACH ROW
    WHEN (NEW.unread_count <> NEW.unread_new AND NEW.unread_since = '-infinity')
    EXECUTE FUNCTION rapport_marked();
ALTER TABLE conversations ENABLE ALWAYS TRIGGER conversations_begun;

-- The audit log tells of neither, as of the count itself.
DO $do$
DECLARE
    was constant text := pg_get_functiondef('rapport_audited()'::regprocedure);
    told constant text := replace(was, '''unread_count'',', '''unread_count'', ''unread_new'', ''unread_since'',');
BEGIN
    IF told = was THEN
        RAISE EXCEPTION 'rapport_audited() does not name what it leaves out as it did';
    END IF;
    EXECUTE told;
END $do$;
