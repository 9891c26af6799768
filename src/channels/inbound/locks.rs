//! Locks of what has no row yet: a message that several deliveries are about, a person whom several messages are the first of.
//!
//! They hold until the transaction ends. A transaction takes those of messages first, then those of people, then rows; several of
//! one kind in the order of their keys. So two of them seldom wait for each other: where a reaction has waited for a message, and beside
//! those who lock leads before conversations. Then one of the two is tried again.

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::{Statement, Tx};

/// Locks that the messages of a business share: a thousand messages of one batch take no more, as PostgreSQL's table of locks has
/// some thousand places.
const MESSAGE_LOCKS: u64 = 64;

/// Locks messages, by their ids on the channel, before they are written or looked for. Queries: one, if there are any.
pub fn messages<'i>(tx: &mut Tx<'_>, tenant: &Tenant, external_ids: impl IntoIterator<Item = &'i str>) -> Result<()> {
    #[cfg(feature = "mutants")]
    if crate::base::mutants::is(crate::base::mutants::Mutant::MessageUnlocked) {
        return Ok(());
    }
    let keys = external_ids.into_iter().map(|id| {
        let shared = xxh3_64_with_seed(id.as_bytes(), 0) % MESSAGE_LOCKS;
        key(tenant.id(), "message", &shared.to_string())
    });
    take(tx, keys.collect())
}

/// Locks people, by what identifies them. Queries: one.
pub fn people<'n>(tx: &mut Tx<'_>, tenant: &Tenant, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
    #[cfg(feature = "mutants")]
    if crate::base::mutants::is(crate::base::mutants::Mutant::PersonUnlocked) {
        return Ok(());
    }
    take(tx, names.into_iter().map(|name| key(tenant.id(), "person", name)).collect())
}

fn key(business: Uuid, kind: &str, name: &str) -> i64 {
    let text = format!("{business} {kind} {name}");
    xxh3_64_with_seed(text.as_bytes(), 0).cast_signed()
}

fn take(tx: &mut Tx<'_>, mut keys: Vec<i64>) -> Result<()> {
    keys.sort_unstable();
    keys.dedup();
    if !keys.is_empty() {
        let mut sql = Statement::new("SELECT pg_advisory_xact_lock(k) FROM unnest(");
        sql.bind(keys).sql(") k").run(tx)?;
    }
    Ok(())
}
