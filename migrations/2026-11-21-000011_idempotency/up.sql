-- Requests that are done once, however often they are sent: what each was answered, kept in the transaction of its effect.

CREATE TABLE idempotency_keys (
    business_id uuid NOT NULL CONSTRAINT idempotency_keys_business_id_fkey REFERENCES businesses ON DELETE CASCADE,
    -- made of whoever asks, the route and their key: the key itself need not be kept
    id uuid NOT NULL,
    -- SHA-256 of the request's parameters and body
    fingerprint bytea NOT NULL,
    status integer NOT NULL,
    location text,
    etag text,
    -- null: it is not to be shown again, because it held a secret, or someone who asked to be forgotten
    body bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (business_id, id)
);
-- those whose time is over are cleared away
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);
SELECT rapport_wall('idempotency_keys', 'SELECT, INSERT, UPDATE');

-- What the request `asked` was answered, once it is known that no other transaction is at it. The lock comes first, in a
-- statement of its own: what its last holder has committed is then seen. `free` is false while another is at it.
CREATE FUNCTION rapport_answered(asked uuid) RETURNS TABLE (free boolean, fingerprint bytea, status integer, location text, etag text, body bytea)
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(('x' || encode(substr(uuid_send(asked), 1, 8), 'hex'))::bit(64)::bigint) THEN
        RETURN QUERY SELECT false, NULL::bytea, NULL::integer, NULL::text, NULL::text, NULL::bytea;
    ELSE
        RETURN QUERY SELECT true, k.fingerprint, k.status, k.location, k.etag, k.body
            FROM (SELECT 1) one LEFT JOIN idempotency_keys k ON k.business_id = rapport_business() AND k.id = asked;
    END IF;
END $$;
