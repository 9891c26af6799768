//! Storage of what channels deliver, as it came. A body is claimed with a lease, so that one whose process died is applied by another.

use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::parked::MAX_ERROR_LEN;
use crate::base::error::{Error, Result};
use crate::channels::directory::{self, ChannelKey};
use crate::db::schema::inbound_bodies;
use crate::db::{Statement, Tx};

/// How long a claim lasts, in seconds: several times what a part of a body takes, whose last statement may take as long as any.
const LEASE_SECONDS: u32 = 30;
/// Claims after which a body is taken to be what ends its processes.
pub const MAX_CLAIMS: i32 = 5;

/// A body that is being applied.
#[derive(Clone, QueryableByName)]
#[diesel(table_name = inbound_bodies)]
pub struct InboundBody {
    pub id: Uuid,
    pub received_at: DateTime<Utc>,
    pub body: Vec<u8>,
    /// Whose secret it was signed with; `None`: the operator's.
    pub signed_by: Option<Uuid>,
    /// Other businesses with that secret.
    pub also_signed_by: Vec<Uuid>,
    /// The number of the claim.
    pub claim: i32,
    /// Claims that it may be the fault of, this one included.
    pub attempts: i32,
    /// Tries that failed.
    pub failures: i32,
    /// The item to go on with.
    pub next_item: i32,
}

impl InboundBody {
    /// Whether what it tells of this business' channels is signed: with one of their secrets, or the operator's.
    pub fn is_signed_by(&self, business: Uuid) -> bool {
        self.signed_by.is_none_or(|signer| signer == business) || self.also_signed_by.contains(&business)
    }
}

/// What became of a body.
#[derive(Clone, Debug)]
pub enum BodyOutcome {
    /// All of it was applied or parked.
    Applied,
    /// These numbers or accounts in it belong to nobody yet.
    Unclaimed(Vec<ChannelKey>),
    /// It cannot be read, or it ends its processes.
    Failed(String),
    /// There is more of it, from this item on.
    Part { next_item: usize },
    /// The service cannot do it now, from this item on. `is_counted`: the body may be the cause.
    Later { error: String, next_item: usize, is_counted: bool },
}

/// Of whom a body speaks.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// Ids of numbers and accounts.
    pub numbers: Vec<String>,
    /// Hashes of people.
    pub people: Vec<String>,
    /// Businesses whose secret signed it, beside the one that is known to have.
    pub also_signed_by: Vec<Uuid>,
}

#[derive(QueryableByName)]
struct Stored {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    received_at: DateTime<Utc>,
}

/// When a body that is stored is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// At once, by this process, which has claimed it.
    Claimed,
    /// By any process, after so many seconds.
    After(u32),
}

/// Stores a body.
pub fn store(
    tx: &mut Tx<'_>,
    body: &Bytes,
    signed_by: Option<Uuid>,
    subjects: &Subjects,
    turn: Turn,
) -> Result<InboundBody> {
    let (claim, due_in) = match turn {
        Turn::Claimed => (1, LEASE_SECONDS),
        Turn::After(seconds) => (0, seconds),
    };
    let mut sql = Statement::new(
        "INSERT INTO inbound_bodies (id, body, signed_by, also_signed_by, number_ids, people, claim, attempts, due_at) VALUES (",
    );
    sql.bind(Uuid::now_v7())
        .sql(", ")
        .bind(body.to_vec())
        .sql(", ")
        .bind(signed_by)
        .sql(", ")
        .bind(subjects.also_signed_by.clone())
        .sql(", ")
        .bind(subjects.numbers.clone());
    sql.sql(", ").bind(subjects.people.clone()).sql(", ").bind(claim).sql(", ").bind(claim).sql(", now() + ");
    sql.bind(due_in).sql(" * interval '1 second') RETURNING id, received_at");
    let stored =
        sql.first::<Stored>(tx)?.ok_or_else(|| Error::Internal("a body that was stored is not there".into()))?;
    let Stored { id, received_at } = stored;
    Ok(InboundBody {
        id,
        received_at,
        body: body.to_vec(),
        signed_by,
        also_signed_by: subjects.also_signed_by.clone(),
        claim,
        attempts: claim,
        failures: 0,
        next_item: 0,
    })
}

/// Claims up to `limit` bodies that are due, the one that is due for longest first.
pub fn claim(tx: &mut Tx<'_>, limit: u32) -> Result<Vec<InboundBody>> {
    let mut sql = Statement::new(
        "WITH due AS MATERIALIZED (SELECT id FROM inbound_bodies WHERE state = 'new' AND due_at <= now() ORDER BY due_at LIMIT ",
    );
    sql.number(limit).sql(
        " FOR UPDATE SKIP LOCKED) UPDATE inbound_bodies b SET claim = b.claim + 1, attempts = b.attempts + 1, due_at = now() + interval '",
    );
    sql.number(LEASE_SECONDS).sql(
        " seconds' FROM due WHERE b.id = due.id \
         RETURNING b.id, b.received_at, b.body, b.signed_by, b.also_signed_by, b.claim, b.attempts, b.failures, b.next_item",
    );
    Ok(sql.load(tx)?)
}

/// Records what became of a body, unless it was claimed again meanwhile. Queries: one; three for one that is nobody's.
pub fn record(tx: &mut Tx<'_>, body: &InboundBody, outcome: &BodyOutcome) -> Result<()> {
    let mut sql = Statement::new("UPDATE inbound_bodies SET error = ");
    let (BodyOutcome::Failed(error) | BodyOutcome::Later { error, .. }) = outcome else {
        sql.sql("NULL");
        return finish(tx, body, outcome, sql);
    };
    sql.bind(error.chars().take(MAX_ERROR_LEN).collect::<String>());
    finish(tx, body, outcome, sql)
}

fn finish(tx: &mut Tx<'_>, body: &InboundBody, outcome: &BodyOutcome, mut sql: Statement) -> Result<()> {
    match outcome {
        BodyOutcome::Applied => sql.sql(", state = 'applied'"),
        BodyOutcome::Failed(_) => sql.sql(", state = 'failed'"),
        BodyOutcome::Unclaimed(names) => match is_connected(tx, names)? {
            // A moment ago.
            true => sql.sql(", attempts = 0, due_at = now()"),
            false => sql.sql(", state = 'unclaimed'"),
        },
        BodyOutcome::Part { next_item } => sql
            .sql(", attempts = 0, failures = 0, due_at = now(), next_item = ")
            .bind(i64::try_from(*next_item).unwrap_or(i64::MAX)),
        BodyOutcome::Later { next_item, is_counted, .. } => {
            // After 1, 4, 16, 64 and then 256 seconds each.
            let pause = 4_u32.pow(u32::try_from(body.failures.clamp(0, 4)).unwrap_or_default());
            sql.sql(if *is_counted { "" } else { ", attempts = attempts - 1" });
            sql.sql(", failures = failures + 1, next_item = ").bind(i64::try_from(*next_item).unwrap_or(i64::MAX));
            sql.sql(", due_at = now() + ").bind(pause).sql(" * interval '1 second'")
        }
    };
    sql.sql(" WHERE id = ").bind(body.id).sql(" AND claim = ").bind(body.claim).run(tx)?;
    Ok(())
}

/// Whether one of these has a channel now; one that is connected later finds the body.
fn is_connected(tx: &mut Tx<'_>, keys: &[ChannelKey]) -> Result<bool> {
    Statement::new("SELECT pg_advisory_xact_lock(rapport_inbound_lock())").run(tx)?;
    directory::any_exists(tx, keys)
}
