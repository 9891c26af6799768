DROP FUNCTION rapport_purge_deliveries(timestamptz, integer);
DROP FUNCTION rapport_sequence_events(integer, jsonb);
DROP FUNCTION rapport_webhook_next(uuid, uuid, uuid[]);
DROP FUNCTION rapport_webhook_wants(text[], text, text);
DROP FUNCTION rapport_webhook_lock(uuid);
DROP TABLE webhook_deliveries, webhooks;
DROP FUNCTION rapport_purge_events(timestamptz, integer);
DROP TABLE events, event_outbox;
DROP SEQUENCE event_outbox_place_seq;
