//! The statements of a validation round: the snapshot, the database's epoch, and the versions of cache tags.

use std::collections::HashMap;

use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{PgConnection, QueryableByName};

use crate::base::error::BoxError;
use crate::cache::tags::CacheTag;
use crate::db::{Statement, catalogue};

/// Identifies the database: differs for another cluster, a copy restored elsewhere, another database of the same name,
/// or one whose triggers were recreated, so that changes may have been missed. What can change while a connection lives
/// is read in each round, see [`DATABASE_EPOCH`].
pub(super) fn database_identity(conn: &mut PgConnection) -> Result<u64, BoxError> {
    conn.batch_execute("INSERT INTO cache_epoch (id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING")?;
    let name = Statement::new(
        "SELECT concat_ws('/', s.system_identifier, d.oid) FROM pg_control_system() s, pg_database d \
         WHERE d.datname = current_database()",
    )
    .scalar::<String>(conn)?
    .ok_or("the database does not say which it is")?;
    let triggers = catalogue::fingerprint(conn)?;
    Ok(xxhash_rust::xxh3::xxh3_64(format!("{name}/{triggers}").as_bytes()))
}

/// Identifies what a round's statement saw.
#[derive(Default, PartialEq)]
pub(super) struct SnapshotId {
    /// Which transactions are visible: `pg_current_snapshot()`. Every transaction that changes anything has a number,
    /// and its end removes it from the snapshot's list or raises the snapshot's upper bound; neither is ever undone.
    snapshot: String,
    /// The database's epoch, see [`DATABASE_EPOCH`].
    pub(super) epoch: String,
}

/// Identifies the database's epoch: the server's start (older files may have been restored), the table of versions (it
/// may have been recreated or emptied), and the row of `cache_epoch`, which crash recovery and promotion empty. NULL
/// then.
const DATABASE_EPOCH: &str = "(SELECT pg_postmaster_start_time()::text || '/' || pg_relation_filenode('cache_versions') || '/' || i.id \
                    FROM cache_epoch i)";

/// A row of a round's result. The first has the snapshot and the epoch, the others each a slot of a tag's version.
#[derive(QueryableByName)]
struct RoundRow {
    #[diesel(sql_type = BigInt)]
    scope_key: i64,
    #[diesel(sql_type = BigInt)]
    value: i64,
    #[diesel(sql_type = Nullable<Text>)]
    snapshot: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    epoch: Option<String>,
}

/// Reads the snapshot and the versions of cache tags, in their order, in one statement. A version never bumped is 0.
pub(super) fn versions(conn: &mut PgConnection, tags: &[CacheTag]) -> Result<(SnapshotId, Vec<i64>), BoxError> {
    let mut sql =
        Statement::new("SELECT 0::bigint AS scope_key, 0::bigint AS value, pg_current_snapshot()::text AS snapshot, ");
    sql.sql(DATABASE_EPOCH).sql(" AS epoch");
    if !tags.is_empty() {
        sql.sql(" UNION ALL SELECT scope_key, value, NULL, NULL FROM cache_versions WHERE scope_key = ANY(");
        sql.bind(tags.iter().map(|tag| tag.key()).collect::<Vec<_>>()).sql(")");
    }
    let (mut snapshot, mut slots) = (None, HashMap::<i64, i64>::new());
    for row in sql.load::<RoundRow>(conn)? {
        match (row.snapshot, row.epoch) {
            (Some(visible), Some(epoch)) => snapshot = Some(SnapshotId { snapshot: visible, epoch }),
            (None, None) => add(slots.entry(row.scope_key).or_default(), row.value),
            _ => return Err("the database has lost its epoch".into()),
        }
    }
    let snapshot = snapshot.ok_or("a round answered nothing")?;
    Ok((snapshot, tags.iter().map(|tag| slots.get(&tag.key()).copied().unwrap_or(0)).collect()))
}

/// A version is the sum of its slots.
fn add(version: &mut i64, slot: i64) {
    #[cfg(feature = "mutants")]
    if crate::base::mutants::is(crate::base::mutants::Mutant::Maximum) {
        *version = slot.max(*version);
        return;
    }
    *version = version.wrapping_add(slot);
}
