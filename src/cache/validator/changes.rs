//! The statements of a validation round: the snapshot, the database's epoch, and what has changed since the last round.

use diesel::connection::SimpleConnection;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel::{PgConnection, QueryableByName};
use uuid::Uuid;

use crate::base::error::BoxError;
use crate::cache::snapshot::Snapshot;
use crate::db::{Statement, catalogue};

/// Changes that one round reads. Of more it only asks which tables they concern, and takes all of their rows as changed.
pub(super) const MAX_CHANGES: u32 = 5_000;
/// Changes that this question looks at. Of more, everything counts as changed: to count them would outlast the round.
pub(super) const MAX_GROUPED: u32 = 200_000;
/// Changes that a process reads when it starts; if there are more, it cannot judge what other processes have stored before.
pub(super) const MAX_RETAINED: u32 = 50_000;

/// Identifies the database: differs for another cluster, a copy restored elsewhere, another database of the same name,
/// or one whose triggers were recreated, so that changes may have been missed. What can change while a connection lives
/// is read in each round, see `rapport_cache_epoch`.
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

/// What a round's statement saw.
pub(super) struct Seen {
    pub snapshot: Snapshot,
    pub epoch: String,
    /// Changes that this snapshot saw may have been removed from the log; `None`: none were.
    pub horizon: Option<Snapshot>,
    pub changes: Vec<Change>,
    /// Whether there are more changes than these, of any table.
    pub is_partial: bool,
}

/// A change of the log.
#[derive(Debug)]
pub(super) struct Change {
    pub xid: u64,
    /// Whether it stands for changes of several transactions, up to `xid`.
    pub is_several: bool,
    pub business: Uuid,
    pub table: String,
    /// The row and what it refers to. `None`: all rows of the table, in all businesses if `business` is nil.
    pub touched: Option<Vec<Uuid>>,
}

/// A row of a round's result. One has the snapshot, the epoch and the horizon, the others each a change.
#[derive(QueryableByName)]
struct RoundRow {
    #[diesel(sql_type = Nullable<Text>)]
    snapshot: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    epoch: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    horizon: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    xid: Option<i64>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    business_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    changed: Option<String>,
    #[diesel(sql_type = Nullable<Array<SqlUuid>>)]
    touched: Option<Vec<Uuid>>,
    /// Changes that the row stands for.
    #[diesel(sql_type = Nullable<BigInt>)]
    counted: Option<i64>,
}

/// Reads, in one statement, the snapshot and the changes that it sees and `since` did not; of a process that starts (`None`),
/// those that the log still has. If there are more than a round reads, a second statement reads the tables that they
/// concern.
pub(super) fn changes_since(conn: &mut PgConnection, since: Option<&Snapshot>) -> Result<Seen, BoxError> {
    let most = if since.is_some() { MAX_CHANGES } else { MAX_RETAINED };
    let mut sql = head();
    sql.sql(" UNION ALL (SELECT NULL, NULL, NULL, xid::text::bigint, business_id, changed, touched, 1 FROM (");
    sql.append(visible("xid, business_id, changed, touched", since)).sql(") c LIMIT ").number(most + 1).sql(")");
    let seen = read(conn, &sql, false)?;
    #[cfg(feature = "mutants")]
    if crate::base::mutants::is(crate::base::mutants::Mutant::PartOfMany) {
        return Ok(seen);
    }
    if seen.changes.len() <= most as usize || since.is_none() {
        return Ok(seen);
    }
    let mut sql = head();
    sql.sql(" UNION ALL SELECT NULL, NULL, NULL, max(xid::text::bigint), business_id, changed, NULL::uuid[], count(*) FROM (SELECT * FROM (");
    sql.append(visible("xid, business_id, changed", since)).sql(") v LIMIT ").number(MAX_GROUPED + 1);
    read(conn, sql.sql(") c GROUP BY business_id, changed"), true)
}

/// Selects what each round reads. As a function, `rapport_cache_epoch` would take twice the time of the whole statement; `OFFSET
/// 0` has its text made once.
fn head() -> Statement {
    Statement::new(
        "SELECT pg_current_snapshot()::text AS snapshot, e.epoch, \
             (SELECT h.snapshot::text FROM change_log_horizons h WHERE h.epoch = e.epoch AND h.has_removed ORDER BY h.taken_at DESC LIMIT 1) AS horizon, \
             NULL::bigint AS xid, NULL::uuid AS business_id, NULL::text AS changed, NULL::uuid[] AS touched, \
             NULL::bigint AS counted \
         FROM (SELECT (SELECT pg_postmaster_start_time()::text || '/' || pg_relation_filenode('public.change_log') || '/' || i.id \
                       FROM cache_epoch i) AS epoch OFFSET 0) e",
    )
}

/// Selects the changes that became visible after `since`. Numbers that no transaction has had yet are of another server, whose
/// log was restored here.
fn visible(columns: &'static str, since: Option<&Snapshot>) -> Statement {
    let mut sql = Statement::new("SELECT ");
    sql.sql(columns).sql(" FROM change_log WHERE ");
    let Some(since) = since else {
        sql.sql("xid < pg_snapshot_xmax(pg_current_snapshot())");
        return sql;
    };
    sql.sql("xid >= ")
        .bind(since.end().to_string())
        .sql("::text::xid8 AND xid < pg_snapshot_xmax(pg_current_snapshot())");
    let open = since.in_progress();
    #[cfg(feature = "mutants")]
    let open = if crate::base::mutants::is(crate::base::mutants::Mutant::WithoutXip) { &[] } else { open };
    if !open.is_empty() {
        sql.sql(" UNION ALL SELECT ").sql(columns).sql(" FROM change_log WHERE xid = ANY(");
        sql.bind(open.iter().map(u64::to_string).collect::<Vec<_>>()).sql("::text[]::xid8[])");
    }
    sql
}

fn read(conn: &mut PgConnection, sql: &Statement, is_several: bool) -> Result<Seen, BoxError> {
    let (heads, rows): (Vec<RoundRow>, Vec<RoundRow>) =
        sql.load::<RoundRow>(conn)?.into_iter().partition(|row| row.counted.is_none());
    let first = heads.into_iter().next().ok_or("a round answered nothing")?;
    let (Some(snapshot), Some(epoch)) = (first.snapshot, first.epoch) else {
        return Err("the database has lost its epoch".into());
    };
    let horizon = first.horizon.map(|text| text.parse()).transpose()?;
    let counted: i64 = rows.iter().filter_map(|row| row.counted).sum();
    let is_partial = counted > i64::from(if is_several { MAX_GROUPED } else { MAX_RETAINED });
    let change = |row: RoundRow| {
        let (xid, business, table) = (row.xid?.unsigned_abs(), row.business_id?, row.changed?);
        Some(Change { xid, is_several, business, table, touched: row.touched })
    };
    let changes = rows.into_iter().filter_map(change).collect();
    Ok(Seen { snapshot: snapshot.parse()?, epoch, horizon, changes, is_partial })
}
