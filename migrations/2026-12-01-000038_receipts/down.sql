DROP TABLE read_receipts;
ALTER TABLE contact_identities DROP COLUMN marketing_opted_out_at, DROP COLUMN marketing_changed_at;
SELECT rapport_log_changes('contact_identities');
ALTER TABLE conversations DROP COLUMN free_entry_expires_at;
SELECT rapport_log_changes('conversations');
ALTER TABLE channels DROP COLUMN sends_read_receipts;
SELECT rapport_log_changes('channels');
DO $$ BEGIN
    EXECUTE replace(pg_get_functiondef('rapport_audit_omitted()'::regprocedure),
        '''window_expires_at'', ''free_entry_expires_at'', ''marketing_changed_at'',', '''window_expires_at'',');
END $$;
