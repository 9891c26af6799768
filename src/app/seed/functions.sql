-- Functions that create both data sets. They live in the session's temporary schema: not part of the product's schema,
-- with nothing to clean up.

-- A number from 0 to n - 1 that looks random but is the same at every run: `key` is the row, `salt` the use.
CREATE OR REPLACE FUNCTION pg_temp.seed_pick(key bigint, salt int, n int) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ((hashint8extended(key, salt) & 9223372036854775807) % n)::int
$$;

-- A UUIDv7 for a row created at `born`, so that ids sort like those of a business that has grown over time. SHA-256
-- instead of MD5, which servers in FIPS mode refuse. STABLE, not IMMUTABLE: otherwise the planner could not inline it.
CREATE OR REPLACE FUNCTION pg_temp.seed_id(born timestamptz, key text) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT overlay(overlay(left(encode(sha256(key::bytea), 'hex'), 32)
        PLACING lpad(to_hex((date_part('epoch', born) * 1000)::bigint), 12, '0') || '7' FROM 1 FOR 13)
        PLACING 'a' FROM 17 FOR 1)::uuid
$$;

-- A booking code of eight characters for number `k` of a business. Multiplying by an odd number and folding the upper
-- bits into the lower ones permutes the 2^40 codes: no two numbers share one, and neighbours do not look alike.
CREATE OR REPLACE FUNCTION pg_temp.seed_code(k bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT string_agg(substr('23456789ABCDEFGHJKLMNPQRSTUVWXYZ', 1 + ((folded.v >> shift) & 31)::int, 1), '' ORDER BY shift)
    FROM (SELECT (k * 709601640911 + 463850172349) & 1099511627775 AS v) AS spread,
        LATERAL (SELECT spread.v # (spread.v >> 20) AS v) AS folded, generate_series(0, 35, 5) AS shift
$$;

-- Offsets of time zones, each from an instant on, from the program's data (local_time.rs).
CREATE TEMP TABLE IF NOT EXISTS seed_offsets (zone text, since timestamptz, utc_offset interval);
TRUNCATE pg_temp.seed_offsets;

-- The instant at which clocks of a zone show `local`.
CREATE OR REPLACE FUNCTION pg_temp.seed_instant(zone text, local timestamp) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT (local - (SELECT o.utc_offset FROM pg_temp.seed_offsets o WHERE o.zone = $1 AND o.since AT TIME ZONE 'UTC' + o.utc_offset <= local
        ORDER BY o.since DESC LIMIT 1)) AT TIME ZONE 'UTC'
$$;

-- The date in a zone.
CREATE OR REPLACE FUNCTION pg_temp.seed_today(zone text) RETURNS date LANGUAGE sql STABLE AS $$
    SELECT (now() AT TIME ZONE 'UTC' + o.utc_offset)::date FROM pg_temp.seed_offsets o WHERE o.zone = $1 AND o.since <= now()
    ORDER BY o.since DESC LIMIT 1
$$;
