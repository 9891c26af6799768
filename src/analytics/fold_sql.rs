//! The statements of the fold.

/// Businesses with changes to be folded: one look into the index for each, however many changes they have. In random order, so that
/// none waits for the others.
pub const BEHIND: &str = "WITH RECURSIVE behind AS (
        (SELECT business_id FROM stat_deltas ORDER BY business_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.business_id FROM stat_deltas d WHERE d.business_id > b.business_id ORDER BY d.business_id LIMIT 1)
        FROM behind b WHERE b.business_id IS NOT NULL
    ), found AS MATERIALIZED (
        SELECT business_id FROM behind WHERE business_id IS NOT NULL ORDER BY random()";

/// Businesses whose days are of another zone than theirs.
pub const ELSEWHERE: &str = "WITH found AS MATERIALIZED (
        SELECT b.id AS business_id FROM businesses b LEFT JOIN stat_zones z ON z.business_id = b.id
        WHERE z.zone IS DISTINCT FROM b.time_zone";

/// Businesses that are gone, of which there are days.
pub const GONE: &str = "WITH found AS MATERIALIZED (
        SELECT z.business_id FROM stat_zones z WHERE NOT EXISTS (SELECT FROM businesses b WHERE b.id = z.business_id)";

/// Takes the locks that are free. While all are corrected, none is folded.
pub const TRY_LOCK: &str = "), shared AS MATERIALIZED (
        SELECT pg_try_advisory_xact_lock_shared(rapport_statistics_lock('00000000-0000-0000-0000-000000000000')) AS held)
    SELECT business_id FROM found
    WHERE (SELECT held FROM shared) AND pg_try_advisory_xact_lock(rapport_statistics_lock(business_id))";

pub const DESCRIBED: &str =
    "SELECT k.id, b.time_zone, z.zone, z.rules, z.release, d.places, d.age, d.quarters FROM unnest(";
pub const DESCRIBED_DELTAS: &str = "::uuid[]) k (id)
    LEFT JOIN businesses b ON b.id = k.id LEFT JOIN stat_zones z ON z.business_id = k.id
    CROSS JOIN LATERAL (
        WITH first AS MATERIALIZED (SELECT place, facts, added_at FROM stat_deltas WHERE business_id = k.id ORDER BY place LIMIT ";
pub const DESCRIBED_FACTS: &str = ")
        SELECT (SELECT array_agg(place) FROM first) AS places, (SELECT extract(epoch FROM now() - min(added_at))::bigint FROM first) AS age,
            (SELECT array_agg(DISTINCT f.at) FROM first CROSS JOIN LATERAL unnest(facts) f) AS quarters) d";

/// What is added to the sums is what is removed here: a change that commits later, with a smaller place, is taken by a later pass.
pub const FOLD_TAKEN: &str = "WITH taken AS (DELETE FROM stat_deltas d USING unnest(";
pub const FOLD_DAY: &str = ") k (business_id, place) WHERE d.business_id = k.business_id AND d.place = k.place
        RETURNING d.business_id, d.facts
    ), counted AS (
        SELECT t.business_id, f.metric, f.at, (";
pub const FOLD_FACT: &str = ")] AS day, f.dim, f.n, ";
/// A mutant forgets it.
pub const FOLD_AMOUNT: &str = "f.amount";
/// Returns the rows whose sums have become 0.
pub const FOLD: &str = " FROM taken t CROSS JOIN LATERAL unnest(t.facts) f
    ), summed AS MATERIALIZED (
        SELECT business_id, metric, at, day, dim, sum(n) AS n, sum(amount) AS amount FROM counted
        GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0 OR sum(amount) <> 0
    ), quarters AS (
        INSERT INTO stat_quarters AS q (business_id, metric, quarter, dim, n, amount)
        SELECT business_id, metric, at, dim, n, amount FROM summed
        ON CONFLICT (business_id, metric, quarter, dim) DO UPDATE SET n = q.n + excluded.n, amount = q.amount + excluded.amount
        RETURNING q.ctid, q.n, q.amount
    ), days AS (
        INSERT INTO stat_days AS d (business_id, metric, day, dim, n, amount)
        SELECT business_id, metric, day, dim, sum(n), sum(amount) FROM summed GROUP BY 1, 2, 3, 4
        ON CONFLICT (business_id, metric, day, dim) DO UPDATE SET n = d.n + excluded.n, amount = d.amount + excluded.amount
        RETURNING d.ctid, d.n, d.amount
    )
    SELECT ARRAY(SELECT ctid::text FROM quarters WHERE n = 0 AND amount = 0) AS quarters,
        ARRAY(SELECT ctid::text FROM days WHERE n = 0 AND amount = 0) AS days";
