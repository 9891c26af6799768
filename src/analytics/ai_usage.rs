//! What models used, from the runs that workers report: of a business some thousands a day, which are counted when they are asked for.

use diesel::pg::PgConnection;
use serde::Serialize;
use utoipa::ToSchema;

use super::amounts::decimal;
use super::figures::Figures;
use super::roll_up::{self, Micros, ONE, Question, Sum};
use crate::base::error::Result;
use crate::db::Statement;

/// Returns the sums of the metrics of runs, divided by model and outcome. Queries: one.
pub fn sums(conn: &mut PgConnection, question: &Question<'_>) -> Result<Vec<Sum>> {
    roll_up::load(conn, &statement(question))
}

/// Each run counts once in each metric, when it ended. (The amounts of `ai_runs.latency` are milliseconds of those that give it.)
pub fn statement(question: &Question<'_>) -> Statement {
    let buckets = &question.buckets.starts;
    let mut sql = Statement::new(roll_up::HEAD);
    sql.sql("SELECT f.metric, concat(r.model, '/', r.outcome) AS dim, width_bucket(r.ended_at, ").bind(buckets.clone());
    sql.sql(
        ") AS bucket, f.n, f.amount FROM ai_runs r CROSS JOIN LATERAL (VALUES ('ai_runs', 1, 0::numeric), \
         ('ai_runs.input', 1, r.input_tokens), ('ai_runs.cached', 1, r.cached_tokens), ('ai_runs.output', 1, r.output_tokens), \
         ('ai_runs.cost', 1, r.cost), ('ai_runs.latency', (r.latency_ms IS NOT NULL)::integer, coalesce(r.latency_ms, 0))) \
         f (metric, n, amount) WHERE r.business_id = ",
    );
    sql.bind(question.business).sql(" AND r.ended_at >= ").bind(buckets.first().copied());
    sql.sql(" AND r.ended_at < ").bind(buckets.last().copied()).sql(roll_up::TAIL);
    sql
}

/// What models used in their runs, when these ended, whatever became of their answers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AiUsageFigures {
    pub runs: i64,
    /// Runs whose answer was sent.
    pub sent: i64,
    /// Runs whose answer waits for a person.
    pub draft: i64,
    /// Runs whose answer came too late.
    pub discarded: i64,
    /// Runs without an answer.
    pub failed: i64,
    pub input_tokens: i64,
    /// What of the input the models had cached.
    pub cached_tokens: i64,
    pub output_tokens: i64,
    /// A decimal, in the currency in which the workers gave it.
    pub cost: String,
    /// How long a run took on average, of those that say so; null where none does.
    #[schema(required = true)]
    pub mean_latency_ms: Option<i64>,
    #[serde(skip)]
    micros: Micros,
    #[serde(skip)]
    timed: (i64, i64),
}

impl Default for AiUsageFigures {
    fn default() -> Self {
        Self {
            runs: 0,
            sent: 0,
            draft: 0,
            discarded: 0,
            failed: 0,
            input_tokens: 0,
            cached_tokens: 0,
            output_tokens: 0,
            cost: decimal(0),
            mean_latency_ms: None,
            micros: 0,
            timed: (0, 0),
        }
    }
}

impl Figures for AiUsageFigures {
    fn add(&mut self, metric: &str, values: &[&str], n: i64, amount: Micros) {
        let whole = i64::try_from(amount / ONE).unwrap_or(i64::MAX);
        match metric {
            "ai_runs" => {
                self.runs += n;
                match values.last().copied().unwrap_or_default() {
                    "sent" => self.sent += n,
                    "draft" => self.draft += n,
                    "discarded" => self.discarded += n,
                    _ => self.failed += n,
                }
            }
            "ai_runs.input" => self.input_tokens += whole,
            "ai_runs.cached" => self.cached_tokens += whole,
            "ai_runs.output" => self.output_tokens += whole,
            "ai_runs.cost" => self.micros += amount,
            "ai_runs.latency" => self.timed = (self.timed.0 + n, self.timed.1 + whole),
            _ => {}
        }
    }

    fn settle(&mut self) {
        self.cost = decimal(self.micros);
        let (runs, milliseconds) = self.timed;
        self.mean_latency_ms = (runs > 0).then(|| milliseconds / runs.max(1));
    }

    fn count(&self) -> i64 {
        self.runs
    }
}
