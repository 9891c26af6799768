//! Claims tasks: each is given to one worker, which has it until its lease ends.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::base::timestamp;
use crate::db::schema::worker_tasks;
use crate::db::{Statement, Tx};

/// Which tasks a worker claims.
#[derive(Clone, Debug)]
pub struct Claim {
    pub kinds: Vec<String>,
    pub limit: u32,
    pub lease_seconds: i64,
    /// In seconds.
    pub wait: u64,
}

/// A task that was claimed, with the token that renews, completes or fails it.
#[derive(QueryableByName, Serialize, ToSchema)]
#[diesel(table_name = worker_tasks)]
#[schema(examples(json!({
    "id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c71", "kind": "reply", "conversation_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70",
    "payload": { "conversation_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70", "last_message_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c72" },
    "priority": 50, "run_at": "2026-11-20T09:30:03.000000Z", "dedupe_key": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c70", "attempts": 1,
    "max_attempts": 5, "token": "0b5f8a86-2d0c-4d5e-9f6a-1c2d3e4f5a6b", "lease_until": "2026-11-20T09:31:03.000000Z",
})))]
pub struct ClaimedTask {
    pub id: Uuid,
    pub kind: String,
    #[schema(required = true)]
    pub conversation_id: Option<Uuid>,
    #[schema(value_type = Object)]
    pub payload: Json,
    pub priority: i32,
    #[serde(serialize_with = "timestamp::serialize")]
    pub run_at: DateTime<Utc>,
    #[schema(required = true)]
    pub dedupe_key: Option<String>,
    /// This one included.
    pub attempts: i32,
    pub max_attempts: i32,
    /// No other response shows it.
    #[schema(required = true)]
    pub token: Option<Uuid>,
    /// Until when the worker has it.
    #[serde(serialize_with = "timestamp::serialize_option")]
    #[schema(required = true)]
    pub lease_until: Option<DateTime<Utc>>,
}

/// Claims tasks that are due, and such whose lease has ended, in the order of their priority, then of `run_at`. Queries: one.
pub fn claim(tx: &mut Tx<'_>, tenant: &Tenant, claim: &Claim) -> Result<Vec<ClaimedTask>> {
    let mut tasks: Vec<ClaimedTask> = statement(tenant, claim).load(tx)?;
    tasks.sort_by_key(|task| (task.priority, task.run_at, task.id));
    Ok(tasks)
}

/// The statement of a claim. What others are claiming at this moment is skipped, so claims never wait for each other.
pub fn statement(tenant: &Tenant, claim: &Claim) -> Statement {
    let of = |sql: &mut Statement, status: &'static str| {
        sql.sql("SELECT t.id, t.priority, t.run_at FROM worker_tasks t WHERE t.business_id = ").bind(tenant.id());
        sql.sql(" AND t.status = ").literal(status).sql(" AND t.kind = ANY(").bind(claim.kinds.clone()).sql(") AND ");
    };
    let in_order = |sql: &mut Statement| {
        sql.sql(" ORDER BY t.priority, t.run_at, t.id LIMIT ").number(claim.limit).sql(" FOR UPDATE OF t SKIP LOCKED");
    };
    let mut sql = Statement::new("WITH due AS (");
    of(&mut sql, "open");
    sql.sql("t.run_at <= now()");
    in_order(&mut sql);
    sql.sql("), lapsed AS (");
    of(&mut sql, "claimed");
    sql.sql("t.lease_until <= now() AND t.attempts < t.max_attempts AND NOT ").append(superseded());
    in_order(&mut sql);
    sql.sql("), chosen AS (SELECT id FROM (TABLE due UNION ALL TABLE lapsed) c ORDER BY priority, run_at, id LIMIT ");
    sql.number(claim.limit).sql(
        ") UPDATE worker_tasks t SET version = t.version + 1, updated_at = now(), status = 'claimed', attempts = t.attempts + 1, \
         token = gen_random_uuid(), lease_until = clock_timestamp() + ",
    );
    sql.bind(claim.lease_seconds).sql(" * interval '1 second' FROM chosen WHERE t.business_id = ").bind(tenant.id());
    sql.sql(
        " AND t.id = chosen.id RETURNING t.id, t.kind, t.conversation_id, t.payload, t.priority, t.run_at, t.dedupe_key, t.attempts, \
         t.max_attempts, t.token, t.lease_until",
    );
    sql
}

/// Whether a newer task has the key of the task `t`, which is not given out again then: the newer one has what is new.
pub fn superseded() -> Statement {
    Statement::new(
        "EXISTS (SELECT FROM worker_tasks n WHERE n.business_id = t.business_id AND n.kind = t.kind AND n.dedupe_key = t.dedupe_key \
         AND (n.created_at, n.id) > (t.created_at, t.id))",
    )
}
