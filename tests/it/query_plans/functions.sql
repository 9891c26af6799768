-- Helper functions of plans/data.sql. One business has six tenths of all rows, the smallest two a twentieth each.
CREATE FUNCTION pg_temp.row_id(kind int, i int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT ('01939d5e-0000-7000-8' || lpad(to_hex(kind), 3, '0') || '-' || lpad(to_hex(i), 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.business_id(i int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_temp.row_id(0, CASE WHEN i % 20 < 12 THEN 0 WHEN i % 20 < 16 THEN 12 WHEN i % 20 < 18 THEN 16 ELSE i % 20 END) $$;
-- One of `n` times twenty rows of another table, of the same business.
CREATE FUNCTION pg_temp.other(kind int, i int, n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT pg_temp.row_id(kind, i % 20 + 20 * ((i / 20 * 7919) % n)) $$;
CREATE FUNCTION pg_temp.born(i int, n int) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT timestamptz '2026-11-01Z' - interval '1 year' + i * (interval '1 year' / n) $$;
CREATE FUNCTION pg_temp.gone(i int) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN i / 20 % 50 = 0 THEN timestamptz '2026-11-01Z' - i % 1000 * interval '1 hour' END $$;
CREATE FUNCTION pg_temp.word(i int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT (ARRAY['amber', 'boreal', 'cobalt', 'delta', 'ember', 'fjord', 'granite', 'harbour', 'indigo', 'juniper', 'keystone', 'lumen', 'meridian', 'northern', 'orchard',
        'pioneer', 'quartz', 'river', 'summit', 'timber', 'umber', 'valley', 'willow', 'yarrow', 'zenith'])[1 + i % 25] || CASE WHEN i % 200 = 0 THEN 'rare' || i % 1000 ELSE '' END $$;
CREATE FUNCTION pg_temp.tags(i int) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE i / 20 % 50 WHEN 1 THEN '{vip}'::text[] WHEN 2 THEN '{vip,partner}' ELSE '{}' END $$;
CREATE FUNCTION pg_temp.metadata(i int) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN i / 20 % 50 < 3 THEN '{"plan": "gold"}'::jsonb ELSE '{}' END $$;
