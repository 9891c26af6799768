//! What the operations on tasks for workers take and return.

use deserr::Deserr;
use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::claims::{Claim, ClaimedTask};
use super::{MAX_ERROR_LEN, MAX_KIND_LEN};
use crate::base::error::{Error, FieldError, Result};
use crate::resource::FieldType;
use crate::resource::body::{BodyErrors, value_type};

/// Kinds that one claim may name: a worker that does more kinds of work is several.
const MAX_KINDS: usize = 20;
/// Tasks of one claim: more than a process works on at once would only wait in it, out of the reach of others.
const MAX_CLAIMED: i64 = 50;
/// The longest lease in seconds: a worker that dies holds its tasks back for that long.
const MAX_LEASE: i64 = 3_600;
/// The lease in seconds, when a claim names none.
const LEASE: i64 = 60;
/// The longest wait in seconds: proxies close connections that are silent for a minute.
const MAX_WAIT: i64 = 50;
/// The longest pause before another attempt, in seconds: a day.
const MAX_RETRY_AFTER: i64 = 86_400;
const MAX_TOKENS: i64 = 2_147_483_647;
const OUTCOMES: &[&str] = &["sent", "draft", "discarded", "failed"];

value_type! {
    /// A kind of task.
    pub WorkerTaskKind(String): FieldType::Text { min: 1, max: MAX_KIND_LEN }, r#""reply""#;
    /// How many tasks; 1 when left out.
    pub ClaimLimit(i64): FieldType::Int { min: 1, max: MAX_CLAIMED }, "1";
    /// How long the worker has them, in seconds; 60 when left out.
    pub LeaseSeconds(i64): FieldType::Int { min: 1, max: MAX_LEASE }, "60";
    /// How long to wait for one, in seconds; 0 when left out.
    pub WaitSeconds(i64): FieldType::Int { min: 0, max: MAX_WAIT }, "30";
    /// The token of a claim.
    pub ClaimToken(Uuid): FieldType::Uuid, r#""0b5f8a86-2d0c-4d5e-9f6a-1c2d3e4f5a6b""#;
    /// What the worker returns: any JSON object.
    pub TaskResult(Json): FieldType::Object, r#"{"sent":true}"#;
    /// What went wrong.
    pub TaskError(String): FieldType::Text { min: 1, max: MAX_ERROR_LEN }, r#""The model timed out.""#;
    /// In how many seconds it is tried again.
    pub RetryAfter(i64): FieldType::Int { min: 0, max: MAX_RETRY_AFTER }, "30";
    /// What names a run, such as the provider's id of the response.
    pub AiRunId(String): FieldType::Text { min: 1, max: 200 }, r#""resp_68af4030""#;
    /// The name of a model.
    pub AiModel(String): FieldType::Text { min: 1, max: 100 }, r#""gpt-5-mini""#;
    /// A number of tokens.
    pub TokenCount(i64): FieldType::Int { min: 0, max: MAX_TOKENS }, "812";
    /// A cost, as a decimal.
    pub AiCost(String): FieldType::Decimal, r#""0.000310""#;
    /// A duration in milliseconds.
    pub Milliseconds(i64): FieldType::Int { min: 0, max: MAX_TOKENS }, "1840";
    /// What became of the answer of a run.
    pub AiOutcome(String): FieldType::Choice(OUTCOMES), r#""sent""#;
}

/// Which tasks to claim.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "kinds": ["reply"], "limit": 5, "lease_seconds": 60, "wait": 30 })))]
pub struct ClaimTasksRequest {
    /// Kinds of tasks, 20 at most.
    #[schema(min_items = 1, max_items = 20)]
    kinds: Vec<WorkerTaskKind>,
    #[deserr(default)]
    limit: Option<ClaimLimit>,
    #[deserr(default)]
    lease_seconds: Option<LeaseSeconds>,
    #[deserr(default)]
    wait: Option<WaitSeconds>,
}

impl ClaimTasksRequest {
    /// Errors: 422 without kinds, and with too many.
    pub fn claim(self) -> Result<Claim> {
        let mut kinds: Vec<String> = self.kinds.into_iter().map(|WorkerTaskKind(kind)| kind).collect();
        if !(1..=MAX_KINDS).contains(&kinds.len()) {
            let detail = format!("`kinds` is a list of 1 to {MAX_KINDS} kinds of tasks.");
            return Err(Error::Invalid(vec![FieldError::new("/kinds", "length", detail)]));
        }
        kinds.sort_unstable();
        kinds.dedup();
        let limit = self.limit.map_or(1, |ClaimLimit(limit)| limit);
        Ok(Claim {
            kinds,
            limit: u32::try_from(limit).unwrap_or(1),
            lease_seconds: self.lease_seconds.map_or(LEASE, |LeaseSeconds(seconds)| seconds),
            wait: self.wait.map_or(0, |WaitSeconds(seconds)| seconds.unsigned_abs()),
        })
    }
}

/// Tasks that were claimed.
#[derive(Serialize, ToSchema)]
pub struct ClaimedTasks {
    /// Those to be done first come first; none when none was due.
    pub data: Vec<ClaimedTask>,
}

/// A longer lease.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "token": "0b5f8a86-2d0c-4d5e-9f6a-1c2d3e4f5a6b", "lease_seconds": 60 })))]
pub struct RenewLeaseRequest {
    token: ClaimToken,
    #[deserr(default)]
    lease_seconds: Option<LeaseSeconds>,
}

impl RenewLeaseRequest {
    /// Returns the token, and the lease in seconds from now on.
    pub fn parts(self) -> (Uuid, i64) {
        (self.token.0, self.lease_seconds.map_or(LEASE, |LeaseSeconds(seconds)| seconds))
    }
}

/// What a model used in one run.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "run_id": "resp_68af4030", "model": "gpt-5-mini", "input_tokens": 812, "cached_tokens": 512, "output_tokens": 64,
    "cost": "0.000310", "latency_ms": 1840, "outcome": "sent",
})))]
pub struct AiUsage {
    /// The token of the claim when left out. A run counts once.
    #[deserr(default)]
    pub run_id: Option<AiRunId>,
    pub model: AiModel,
    /// What the model read, with what it had cached.
    #[deserr(default)]
    pub input_tokens: Option<TokenCount>,
    /// What of it the model had cached.
    #[deserr(default)]
    pub cached_tokens: Option<TokenCount>,
    /// What the model wrote.
    #[deserr(default)]
    pub output_tokens: Option<TokenCount>,
    #[deserr(default)]
    pub cost: Option<AiCost>,
    /// How long it took.
    #[deserr(default)]
    pub latency_ms: Option<Milliseconds>,
    /// `sent` when left out of a completion, `failed` of a failure, `discarded` where the lease is lost.
    #[deserr(default)]
    pub outcome: Option<AiOutcome>,
}

/// The end of a task that is done.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "token": "0b5f8a86-2d0c-4d5e-9f6a-1c2d3e4f5a6b", "result": { "sent": true },
    "usage": { "model": "gpt-5-mini", "input_tokens": 812, "output_tokens": 64, "cost": "0.000310" },
})))]
pub struct CompleteTaskRequest {
    pub token: ClaimToken,
    #[deserr(default)]
    pub result: Option<TaskResult>,
    #[deserr(default)]
    pub usage: Option<AiUsage>,
}

/// The end of an attempt that failed.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({
    "token": "0b5f8a86-2d0c-4d5e-9f6a-1c2d3e4f5a6b", "error": "The model timed out.", "retry_after": 30,
})))]
pub struct FailTaskRequest {
    pub token: ClaimToken,
    pub error: TaskError,
    /// 5 seconds after the first attempt when left out, twice as long after each further one, and an hour at most.
    #[deserr(default)]
    pub retry_after: Option<RetryAfter>,
    /// `false`: no further attempt would help. `true` when left out.
    #[deserr(default)]
    pub retry: Option<bool>,
    #[deserr(default)]
    pub usage: Option<AiUsage>,
}
