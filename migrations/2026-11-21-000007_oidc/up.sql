-- Signing in with an identity provider (OpenID Connect).

-- Which person an identity elsewhere belongs to: an issuer and its name for them, which never changes, as an e-mail address may.
CREATE TABLE identities (
    issuer text NOT NULL,
    subject text NOT NULL,
    user_id uuid NOT NULL CONSTRAINT identities_user_id_fkey REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user_id_idx ON identities (user_id);

-- Who has left for the provider and is expected back.
CREATE TABLE oidc_departures (
    -- SHA-256 of what the provider sends back, and of what only the browser that left has
    state bytea PRIMARY KEY,
    secret bytea NOT NULL,
    nonce text NOT NULL,
    -- PKCE (RFC 7636)
    verifier text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX oidc_departures_expires_at_idx ON oidc_departures (expires_at);
