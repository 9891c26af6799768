ALTER TABLE messages DROP COLUMN cached_tokens, DROP COLUMN latency_ms, DROP COLUMN run_id;
SELECT rapport_log_changes('messages');
ALTER TABLE channels DROP COLUMN default_handler;
SELECT rapport_log_changes('channels');
ALTER TABLE conversations DROP COLUMN handler;
SELECT rapport_log_changes('conversations');
DROP TABLE ai_runs, worker_tasks;
DROP FUNCTION rapport_log_ai_runs(), rapport_log_worker_tasks();
