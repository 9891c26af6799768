DROP FUNCTION rapport_answered(uuid);
DROP TABLE idempotency_keys;
