DROP FUNCTION rapport_claim_inbound(text[]);
DROP FUNCTION rapport_erase_inbound(text[]);
DROP FUNCTION rapport_replay_inbound(text[], timestamptz, timestamptz, integer);
DROP FUNCTION rapport_inbound_lock();
DROP TABLE inbound_bodies;
