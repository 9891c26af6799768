//! Storage of what channels deliver, as it came. A body is claimed with a lease, so that one whose process died is applied by another.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use uuid::Uuid;

use crate::base::error::Result;
use crate::db::schema::inbound_bodies;
use crate::db::{Statement, Tx};

/// How long a claim lasts, in seconds: many times what applying a body takes.
const LEASE_SECONDS: u32 = 30;
/// Claims after which a body is taken to be what ends its processes.
pub const MAX_CLAIMS: i32 = 5;
/// Longest error in characters.
const MAX_ERROR_LEN: usize = 500;

/// A body that is being applied.
#[derive(Clone, QueryableByName)]
#[diesel(table_name = inbound_bodies)]
pub struct InboundBody {
    pub id: Uuid,
    pub received_at: DateTime<Utc>,
    pub body: Vec<u8>,
    /// Whose secret it was signed with; `None`: the operator's.
    pub signed_by: Option<Uuid>,
    pub attempts: i32,
}

/// What became of a body.
#[derive(Clone, Debug)]
pub enum BodyOutcome {
    /// All of it was applied or parked.
    Applied,
    /// A number in it belongs to nobody yet.
    Unclaimed,
    /// It cannot be read, or it ends its processes.
    Failed(String),
    /// The service cannot do it now. `is_counted`: the attempt counts, as the body may be the cause.
    Later { error: String, is_counted: bool },
}

/// Of whom a body speaks.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// Ids of numbers.
    pub numbers: Vec<String>,
    /// Hashes of people.
    pub people: Vec<String>,
}

/// Stores a body; `claimed`: by this process, which applies it at once.
pub fn store(tx: &mut Tx<'_>, body: &[u8], signed_by: Option<Uuid>, claimed: bool) -> Result<Option<InboundBody>> {
    let mut sql = Statement::new("INSERT INTO inbound_bodies (id, body, signed_by, attempts, due_at) VALUES (");
    sql.bind(Uuid::now_v7()).sql(", ").bind(body.to_vec()).sql(", ").bind(signed_by).sql(", ").bind(i32::from(claimed));
    sql.sql(", now() + ").bind(if claimed { LEASE_SECONDS } else { 0 });
    Ok(sql.sql(" * interval '1 second') RETURNING id, received_at, body, signed_by, attempts").first(tx)?)
}

/// Claims up to `most` bodies that are due, the oldest first.
pub fn claim(tx: &mut Tx<'_>, most: u32) -> Result<Vec<InboundBody>> {
    let mut sql = Statement::new(
        "WITH due AS MATERIALIZED (SELECT id FROM inbound_bodies WHERE state = 'new' AND due_at <= now() ORDER BY due_at LIMIT ",
    );
    sql.number(most).sql(
        " FOR UPDATE SKIP LOCKED) UPDATE inbound_bodies b SET attempts = b.attempts + 1, due_at = now() + interval '",
    );
    sql.number(LEASE_SECONDS)
        .sql(" seconds' FROM due WHERE b.id = due.id RETURNING b.id, b.received_at, b.body, b.signed_by, b.attempts");
    Ok(sql.load(tx)?)
}

/// Records what became of a body.
pub fn record(tx: &mut Tx<'_>, id: Uuid, outcome: &BodyOutcome, subjects: &Subjects, attempts: i32) -> Result<()> {
    let (state, error) = match outcome {
        BodyOutcome::Applied => ("applied", None),
        BodyOutcome::Unclaimed => ("unclaimed", None),
        BodyOutcome::Failed(error) => ("failed", Some(error)),
        BodyOutcome::Later { error, .. } => ("new", Some(error)),
    };
    let error = error.map(|error| error.chars().take(MAX_ERROR_LEN).collect::<String>());
    // 1, 4, 16, 64 and then 256 seconds: an outage is no fault of the body.
    let pause = 4_u32.pow(u32::try_from(attempts.clamp(1, 5) - 1).unwrap_or_default());
    let mut sql = Statement::new("UPDATE inbound_bodies SET state = ");
    sql.bind(state).sql(", error = ").bind(error).sql(", number_ids = ").bind(subjects.numbers.clone());
    sql.sql(", people = ").bind(subjects.people.clone());
    if let BodyOutcome::Later { is_counted, .. } = outcome {
        sql.sql(if *is_counted { "" } else { ", attempts = 0" });
        sql.sql(", due_at = now() + ").bind(pause).sql(" * interval '1 second'");
    }
    sql.sql(" WHERE id = ").bind(id).run(tx)?;
    Ok(())
}
