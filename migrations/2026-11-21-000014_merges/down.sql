DROP TABLE merges;
DROP FUNCTION rapport_companies_like(text, text, text, text);
DROP FUNCTION rapport_contacts_like(text, text, text, uuid, text);
DROP STATISTICS companies_called_stats;
DROP INDEX companies_called_idx;
DROP INDEX companies_phone_idx;
DROP STATISTICS contacts_mailbox_stats;
DROP INDEX contacts_mailbox_idx;
DROP FUNCTION rapport_company_name(text);
DROP FUNCTION rapport_mailbox(text);
-- Moves one version; as a rule once in a transaction, because it becomes visible as a whole.
CREATE OR REPLACE FUNCTION rapport_move(business uuid, moved text, part integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    this constant bigint := pg_current_xact_id()::text::bigint;
    here constant bigint := rapport_place(business, moved, part);
    free tid;
    mine boolean;
BEGIN
    -- Under a snapshot that spans the transaction, a slot that changed since then cannot be locked (40001): take a new one,
    -- unless there is one of this transaction's own.
    IF current_setting('transaction_isolation') = 'read committed' THEN
        SELECT ctid, moved_by = this INTO free, mine FROM cache_versions
        WHERE place = here
        LIMIT 1 FOR UPDATE SKIP LOCKED;
        IF mine THEN
            RETURN;
        ELSIF FOUND THEN
            -- Above what it was, whatever became of the sequence.
            UPDATE cache_versions SET value = greatest(value + 1, nextval('cache_version_values')), moved_by = this
            WHERE ctid = free AND place = here;
            IF FOUND THEN
                RETURN;
            END IF;
        END IF;
    ELSE
        PERFORM FROM cache_versions
        WHERE place = here AND moved_by = this;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    INSERT INTO cache_versions (business_id, scope, bucket, place, slot, value, moved_by)
    VALUES (business, moved, part, here, nextval('cache_version_slots'), nextval('cache_version_values'), this);
END $$;
