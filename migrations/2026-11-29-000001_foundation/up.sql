-- What every later migration uses: extensions, ids, JSON Merge Patch and the business of the transaction.
-- Needs PostgreSQL 15 or newer (ON DELETE SET NULL with a column list).

CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;
CREATE EXTENSION IF NOT EXISTS btree_gist;

-- UUIDv7 (RFC 9562, section 5.7) for rows that SQL inserts; the service makes its own.
-- PostgreSQL has uuidv7() from 18 on only.
CREATE FUNCTION rapport_uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_byte(set_byte(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112),
            8, (get_byte(uuid_send(gen_random_uuid()), 8) & 63) | 128),
        'hex')::uuid
$$;

-- The business that the transaction is confined to. Without one it is null, which equals no row's business.
CREATE FUNCTION rapport_business() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT nullif(current_setting('rapport.business', true), '')::uuid $$;

-- Applies `patch` to `target` (JSON Merge Patch, RFC 7396): members of an object are set one by one, null removes one, and
-- everything else, lists included, replaces the target. It is a function of SQL so that concurrent changes of different
-- members of one row are both kept: the second waits for the row and merges into the result of the first.
CREATE FUNCTION rapport_merge_patch(target jsonb, patch jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    known jsonb := CASE jsonb_typeof(target) WHEN 'object' THEN target ELSE '{}' END;
BEGIN
    IF patch IS NULL OR jsonb_typeof(patch) <> 'object' THEN
        RETURN patch;
    END IF;
    RETURN (
        SELECT coalesce(jsonb_object_agg(m.key, m.value), '{}') FROM (
            SELECT k.key, k.value FROM jsonb_each(known) k WHERE NOT patch ? k.key
            UNION ALL
            -- A new object without a null is itself: no call for each of thousands.
            SELECT p.key, CASE
                WHEN jsonb_typeof(p.value) = 'object' AND (known ? p.key OR p.value::text LIKE '%null%')
                    THEN rapport_merge_patch(known -> p.key, p.value)
                ELSE p.value
            END
            FROM jsonb_each(patch) p WHERE jsonb_typeof(p.value) <> 'null'
        ) m
    );
END
$$;

-- The same for the object `field` of the table `held`, limited to `most` bytes without blanks between its parts. A result
-- that grows past the limit is refused as by a constraint `<table>_<field>_size`; an object that is larger already may
-- shrink.
CREATE FUNCTION rapport_merge_patch_limited(target jsonb, patch jsonb, most integer, held text, field text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    merged jsonb := rapport_merge_patch(target, patch);
    written text := merged::text;
BEGIN
    -- With blanks it is never shorter than without.
    IF octet_length(written) > most AND octet_length(written) > coalesce(octet_length(target::text), 0) THEN
        -- A string stays as it is; outside of strings, the blank after a comma or a colon goes.
        written := regexp_replace(written, '("(?:[^"\\]|\\.)*")|([,:]) ', '\1\2', 'g');
        IF octet_length(written) > most THEN
            RAISE EXCEPTION 'a merged object has % bytes, and may have %', octet_length(written), most
                USING ERRCODE = 'check_violation', TABLE = held, CONSTRAINT = held || '_' || field || '_size';
        END IF;
    END IF;
    RETURN merged;
END
$$;
