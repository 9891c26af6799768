-- What `patch` makes of `target` (JSON Merge Patch, RFC 7396): members of an object are set one by one, null removes one, and
-- everything else, lists too, takes the place of what was there. A function of SQL, so that two who change different members of one
-- row at once both do: the second waits for the row and merges into what the first has made of it.
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

-- The same for the object `field` of the table `held`, of at most `most` bytes without blanks between its parts. What grows past
-- that is refused as by a constraint `<table>_<field>_size`; an object that is larger already may shrink.
CREATE FUNCTION rapport_merged(target jsonb, patch jsonb, most integer, held text, field text) RETURNS jsonb
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
