//! Reads sums of metrics in buckets of a period, in one statement: what is folded, and what is not yet.

use diesel::QueryableByName;
use diesel::pg::PgConnection;
use diesel::sql_types::{BigInt, Integer, Text};
use uuid::Uuid;

use super::period::{Buckets, Period};
use crate::base::error::{Error, Result};
use crate::db::Statement;

/// Millionths: every amount has at most six decimal places (minor units, costs, seconds), so sums of them are exact.
pub type Micros = i128;
/// One, in millionths.
pub const ONE: Micros = 1_000_000;

/// The sum of a metric in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sum {
    pub metric: String,
    /// What the metric is divided by; see the migration for the form of each.
    pub dim: String,
    /// From 0 on.
    pub bucket: usize,
    pub n: i64,
    pub amount: Micros,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    metric: String,
    #[diesel(sql_type = Text)]
    dim: String,
    #[diesel(sql_type = Integer)]
    bucket: i32,
    #[diesel(sql_type = BigInt)]
    n: i64,
    #[diesel(sql_type = Text)]
    amount: String,
}

/// What is summed: metrics of a business, in the buckets of a period.
#[derive(Clone, Debug)]
pub struct Question<'q> {
    pub business: Uuid,
    pub metrics: &'q [&'static str],
    /// Whose zone and rules the buckets are of.
    pub period: &'q Period,
    pub buckets: &'q Buckets,
}

impl Question<'_> {
    /// Returns the statement of [`sums`]: the days are used if they are of this zone, else the quarters. Which of them is decided
    /// once, before either is read.
    pub fn statement(&self) -> Statement {
        let mut sql = Statement::new(HEAD);
        sql.sql("SELECT metric, dim, width_bucket(day, ")
            .bind(self.buckets.days.clone())
            .sql(") AS bucket, n, amount FROM stat_days");
        self.of_metrics(&mut sql).sql(" AND day >= ").bind(self.buckets.days.first().copied());
        sql.sql(" AND day < ").bind(self.buckets.days.last().copied()).sql(" AND ");
        self.has_days(&mut sql).sql(" UNION ALL ");
        self.instants(&mut sql, "quarter", "stat_quarters").sql(" AND NOT ");
        self.has_days(&mut sql).sql(" UNION ALL ");
        // Turns are read again in conversations that have changed, unless nobody asks for them.
        let has_turns = self.metrics.iter().any(|metric| metric.starts_with("responses"));
        self.instants(&mut sql, "at", if has_turns { "stat_unfolded" } else { "stat_delta_facts" }).sql(TAIL);
        sql
    }

    /// Returns the statement of [`recount`].
    pub fn recount(&self) -> Statement {
        let mut sql = Statement::new(HEAD);
        self.instants(&mut sql, "at", "stat_facts").sql(TAIL);
        sql
    }

    fn instants<'s>(&self, sql: &'s mut Statement, at: &'static str, table: &'static str) -> &'s mut Statement {
        sql.sql("SELECT metric, dim, width_bucket(").ident(at).sql(", ").bind(self.buckets.starts.clone());
        sql.sql(") AS bucket, n, amount FROM ").ident(table);
        self.of_metrics(sql).sql(" AND ").ident(at).sql(" >= ").bind(self.buckets.starts.first().copied());
        sql.sql(" AND ").ident(at).sql(" < ").bind(self.buckets.starts.last().copied())
    }

    fn of_metrics<'s>(&self, sql: &'s mut Statement) -> &'s mut Statement {
        let metrics: Vec<String> = self.metrics.iter().map(|metric| (*metric).to_owned()).collect();
        sql.sql(" WHERE business_id = ").bind(self.business).sql(" AND metric = ANY (").bind(metrics).sql(")")
    }

    /// Whether the days of the business are of this zone and these rules: a one-time filter.
    fn has_days<'s>(&self, sql: &'s mut Statement) -> &'s mut Statement {
        #[cfg(feature = "mutants")]
        if crate::base::mutants::is(crate::base::mutants::Mutant::StaleRules) {
            return sql
                .sql("(SELECT EXISTS (SELECT FROM stat_zones WHERE business_id = ")
                .bind(self.business)
                .sql("))");
        }
        sql.sql("(SELECT EXISTS (SELECT FROM stat_zones WHERE business_id = ").bind(self.business);
        sql.sql(" AND zone = ")
            .bind(self.period.zone_name.as_str())
            .sql(" AND rules = ")
            .bind(&*self.period.rules())
            .sql("))")
    }
}

/// Begins a statement of sums: what follows selects `metric`, `dim`, `bucket` from 1 on, `n` and `amount`.
pub const HEAD: &str = "SELECT metric, dim, bucket - 1 AS bucket, sum(n)::bigint AS n, trunc(sum(amount) * 1000000)::text AS amount FROM (";
/// Ends it.
pub const TAIL: &str = ") s GROUP BY metric, dim, bucket HAVING sum(n) <> 0 OR sum(amount) <> 0 LIMIT 200001";
/// Sums of a response at most: some tens of megabytes. One more is read, by which it is known that there are more ([`TAIL`]).
pub const MAX_SUMS: usize = 200_000;

/// Returns the sums that are not 0. Queries: one.
pub fn sums(conn: &mut PgConnection, question: &Question<'_>) -> Result<Vec<Sum>> {
    #[cfg(feature = "mutants")]
    if crate::base::mutants::is(crate::base::mutants::Mutant::TwoStatements) {
        return two_statements(conn, question);
    }
    load(conn, &question.statement())
}

/// Returns the same sums from the rows themselves: what tests and benchmarks compare with.
pub fn recount(conn: &mut PgConnection, question: &Question<'_>) -> Result<Vec<Sum>> {
    load(conn, &question.recount())
}

/// Loads the sums of a statement.
pub fn load(conn: &mut PgConnection, statement: &Statement) -> Result<Vec<Sum>> {
    statement.load::<Row>(conn)?.into_iter().map(Sum::try_from).collect()
}

impl TryFrom<Row> for Sum {
    type Error = Error;

    fn try_from(Row { metric, dim, bucket, n, amount }: Row) -> Result<Self> {
        let wrong = || Error::Internal(format!("a sum of {metric}: {amount} in bucket {bucket}"));
        let (amount, bucket) = (amount.parse().map_err(|_| wrong())?, usize::try_from(bucket).map_err(|_| wrong())?);
        Ok(Self { metric, dim, bucket, n, amount })
    }
}

/// A mutant: what is folded between the statements is missing or counted twice.
#[cfg(feature = "mutants")]
fn two_statements(conn: &mut PgConnection, question: &Question<'_>) -> Result<Vec<Sum>> {
    let mut deltas = Statement::new(HEAD);
    question.instants(&mut deltas, "at", "stat_unfolded").sql(TAIL);
    let mut folded = Statement::new(HEAD);
    question.instants(&mut folded, "quarter", "stat_quarters").sql(TAIL);
    let mut all = std::collections::BTreeMap::new();
    for (place, statement) in [deltas, folded].iter().enumerate() {
        if place > 0 {
            crate::base::mutants::stall_for_a_pass();
        }
        for sum in load(conn, statement)? {
            let total: &mut (i64, Micros) = all.entry((sum.metric, sum.dim, sum.bucket)).or_default();
            *total = (total.0 + sum.n, total.1 + sum.amount);
        }
    }
    let sums = all.into_iter().filter(|(_, total)| *total != (0, 0));
    Ok(sums.map(|((metric, dim, bucket), (n, amount))| Sum { metric, dim, bucket, n, amount }).collect())
}
