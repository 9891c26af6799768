DELETE FROM imports WHERE resource = 'message-rates';
ALTER TABLE imports DROP CONSTRAINT imports_resource_check;
ALTER TABLE imports ADD CONSTRAINT imports_resource_check CHECK (resource IN ('contacts', 'companies', 'leads', 'tasks'));
DROP INDEX messages_unpriced_idx;
DROP TABLE message_rates;
DROP FUNCTION rapport_log_message_rates();
