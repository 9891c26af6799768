//! From when on channels and conversations may be given another message, as rows that all processes share.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// How far ahead the limit of the channel `c` may lie: see [`super::pace::Pace::of_channel`].
pub const CHANNEL_BURST: &str =
    "(greatest(c.messages_per_second / 8, 1) - 1) * interval '1 second' / c.messages_per_second";

/// From when on channels and conversations are free, by business and id.
pub type FreeAt = BTreeMap<(Uuid, Uuid), DateTime<Utc>>;

/// Locks and returns the limits of these channels and conversations, in the order of their keys; those without one are free `now`.
pub fn lock(tx: &mut Tx<'_>, keys: impl Iterator<Item = (Uuid, Uuid)>, now: DateTime<Utc>) -> Result<FreeAt> {
    #[derive(QueryableByName)]
    struct Limit {
        #[diesel(sql_type = SqlUuid)]
        business_id: Uuid,
        #[diesel(sql_type = SqlUuid)]
        id: Uuid,
        #[diesel(sql_type = Timestamptz)]
        free_at: DateTime<Utc>,
    }
    let keys: FreeAt = keys.map(|key| (key, now)).collect();
    // The update that changes nothing locks the row, and returns it.
    let mut sql = Statement::new("INSERT INTO send_limits AS l (business_id, id, free_at) SELECT * FROM unnest(");
    bind(&mut sql, &keys);
    sql.sql(") ORDER BY 1, 2 ON CONFLICT (business_id, id) DO UPDATE SET free_at = l.free_at RETURNING business_id, id, free_at");
    let limits = sql.load::<Limit>(tx)?;
    Ok(limits.into_iter().map(|limit| ((limit.business_id, limit.id), limit.free_at)).collect())
}

pub fn store(tx: &mut Tx<'_>, limits: &FreeAt) -> Result<()> {
    let mut sql = Statement::new("UPDATE send_limits l SET free_at = n.free_at FROM unnest(");
    bind(&mut sql, limits);
    sql.sql(") AS n (business_id, id, free_at) WHERE l.business_id = n.business_id AND l.id = n.id AND l.free_at <> n.free_at");
    sql.run(tx)?;
    Ok(())
}

fn bind(sql: &mut Statement, limits: &FreeAt) {
    sql.bind(limits.keys().map(|(business, _)| *business).collect::<Vec<_>>()).sql(", ");
    sql.bind(limits.keys().map(|(_, id)| *id).collect::<Vec<_>>()).sql(", ");
    sql.bind(limits.values().copied().collect::<Vec<_>>());
}

/// Has all messages of a channel wait for so many seconds. Queries: one.
pub fn hold(tx: &mut Tx<'_>, tenant: &Tenant, channel: Uuid, seconds: i64) -> Result<()> {
    let mut sql =
        Statement::new("INSERT INTO send_limits AS l (business_id, id, free_at) SELECT c.business_id, c.id, now() + ");
    sql.bind(seconds)
        .sql(" * interval '1 second' + ")
        .sql(CHANNEL_BURST)
        .sql(" FROM channels c WHERE c.business_id = ");
    sql.bind(tenant.id()).sql(" AND c.id = ").bind(channel);
    sql.sql(" ON CONFLICT (business_id, id) DO UPDATE SET free_at = greatest(l.free_at, excluded.free_at)").run(tx)?;
    Ok(())
}

/// Forgets limits that allow everything again. Queries: one.
pub fn purge(tx: &mut Tx<'_>, most: u32) -> Result<usize> {
    let mut sql = Statement::new(
        "DELETE FROM send_limits WHERE (business_id, id) IN (SELECT business_id, id FROM send_limits WHERE free_at < now() ORDER BY free_at LIMIT ",
    );
    Ok(sql.number(most).sql(" FOR UPDATE SKIP LOCKED)").run(tx)?)
}
