-- What channels deliver, as it came: committed before it is acknowledged, and kept so that it can be applied again. A body may
-- concern several businesses, and whose it is is known only once it was read; only the service reads it.
CREATE TABLE inbound_bodies (
    id uuid PRIMARY KEY DEFAULT rapport_uuid_v7(),
    received_at timestamptz NOT NULL DEFAULT now(),
    body bytea NOT NULL,
    -- whose secret it was signed with; null: the operator's
    signed_by uuid CONSTRAINT inbound_bodies_signed_by_fkey REFERENCES businesses ON DELETE CASCADE,
    state text NOT NULL DEFAULT 'new',
    -- the number of the claim: who claimed it before records nothing any more
    claim integer NOT NULL DEFAULT 0,
    -- claims that it may be the fault of, and tries that failed whatever the reason
    attempts integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    -- the item to go on with: a long body is applied in parts
    next_item integer NOT NULL DEFAULT 0,
    -- when it may be claimed (again): a claim is a lease that ends then
    due_at timestamptz NOT NULL DEFAULT now(),
    error text,
    -- ids of the numbers and accounts that it names, and hashes of the people that it is about, each with the business of its channel
    number_ids text[] NOT NULL DEFAULT '{}',
    people text[] NOT NULL DEFAULT '{}',
    CONSTRAINT inbound_bodies_state_check CHECK (state IN ('new', 'applied', 'unclaimed', 'failed'))
);
-- Bodies are small JSON, read once: compressing them costs more than it saves.
ALTER TABLE inbound_bodies ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX inbound_bodies_due_at_idx ON inbound_bodies (due_at) WHERE state = 'new';
CREATE INDEX inbound_bodies_received_at_idx ON inbound_bodies (received_at);
CREATE INDEX inbound_bodies_signed_by_idx ON inbound_bodies (signed_by) WHERE signed_by IS NOT NULL;
CREATE INDEX inbound_bodies_number_ids_idx ON inbound_bodies USING gin (number_ids);
CREATE INDEX inbound_bodies_people_idx ON inbound_bodies USING gin (people);

-- Bodies for a number that nobody had are applied when a business connects it.
--
-- A body that is found to be nobody's at this moment, and the channel that is connected at this moment, see each other by this lock.
CREATE FUNCTION rapport_inbound_lock() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT hashtextextended('rapport inbound bodies', 0) $$;
CREATE FUNCTION rapport_claim_inbound(numbers text[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT pg_advisory_xact_lock(rapport_inbound_lock());
    UPDATE inbound_bodies SET state = 'new', attempts = 0, failures = 0, next_item = 0, due_at = now() WHERE state = 'unclaimed' AND number_ids && numbers
$$;
-- Bodies that a business has applied once more: those that the operator or the business itself signed.
CREATE FUNCTION rapport_replay_inbound(numbers text[], since timestamptz, until timestamptz, most integer) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH again AS (
        UPDATE inbound_bodies SET state = 'new', attempts = 0, failures = 0, next_item = 0, due_at = now(), error = NULL
        WHERE id = ANY (ARRAY(
            SELECT id FROM inbound_bodies WHERE number_ids && numbers AND state <> 'new' AND received_at >= since AND received_at < until
                AND (signed_by IS NULL OR signed_by = rapport_business())
            ORDER BY received_at LIMIT most))
        RETURNING id)
    SELECT count(*) FROM again
$$;
-- Bodies about people who are erased. What is not applied yet stays: it may be others', too.
CREATE FUNCTION rapport_erase_inbound(hashes text[]) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM inbound_bodies WHERE people && hashes AND state IN ('applied', 'failed')
$$;
REVOKE EXECUTE ON FUNCTION rapport_inbound_lock(), rapport_claim_inbound(text[]), rapport_erase_inbound(text[]), rapport_replay_inbound(text[], timestamptz, timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION rapport_claim_inbound(text[]), rapport_erase_inbound(text[]), rapport_replay_inbound(text[], timestamptz, timestamptz, integer) TO rapport_tenant;
