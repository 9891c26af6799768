//! The statements of a validation round: the snapshot, the database's epoch, and what has changed since the last round.

use diesel::connection::SimpleConnection;
use diesel::sql_types::{Array, BigInt, Nullable, Oid, Text, Uuid as SqlUuid};
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

/// Identifies the database: differs for another cluster, a copy restored elsewhere, another database of the same name, after a
/// start of the server (older files may have been restored), or if the triggers were recreated, so that changes may have been
/// missed. What can change while a connection lives is read in each round.
pub(super) fn database_identity(conn: &mut PgConnection) -> Result<u64, BoxError> {
    // A snapshot that this server has not reached is another's, whose dump was restored here.
    conn.batch_execute(
        "DELETE FROM cache_epoch WHERE pg_snapshot_xmax(mark) > pg_snapshot_xmax(pg_current_snapshot());
         INSERT INTO cache_epoch (id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING",
    )?;
    let name = Statement::new(
        "SELECT concat_ws('/', s.system_identifier, d.oid, pg_postmaster_start_time()) FROM pg_control_system() s, pg_database d \
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
    /// Differs when earlier snapshots say nothing any more: after crash recovery or promotion, which empty `cache_epoch`, and when
    /// the log was recreated or emptied.
    pub epoch: (Uuid, u32),
    /// Changes that this snapshot saw may have been removed from the log; `None`: none were.
    pub mark: Option<Snapshot>,
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

/// A row of a round's result: a change, and beside each the same head. Without changes there is one row.
#[derive(QueryableByName)]
struct RoundRow {
    #[diesel(sql_type = Text)]
    snapshot: String,
    #[diesel(sql_type = SqlUuid)]
    epoch: Uuid,
    #[diesel(sql_type = Oid)]
    log: u32,
    #[diesel(sql_type = Nullable<Text>)]
    mark: Option<String>,
    /// An `xid8`, which is sent as the eight bytes of its number.
    #[diesel(sql_type = Nullable<BigInt>)]
    xid: Option<i64>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    business_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    changed: Option<String>,
    #[diesel(sql_type = Nullable<Array<SqlUuid>>)]
    touched: Option<Vec<Uuid>>,
    /// Changes that the row stands for. `None`: one.
    #[diesel(sql_type = Nullable<BigInt>)]
    counted: Option<i64>,
}

/// Reads, in one statement, the snapshot and the changes that it sees and `since` did not; of a process that starts (`None`),
/// those that the log still has. If there are more than a round reads, a second statement reads the tables that they
/// concern.
pub(super) fn changes_since(conn: &mut PgConnection, since: Option<&Snapshot>) -> Result<Seen, BoxError> {
    let most = if since.is_some() { MAX_CHANGES } else { MAX_RETAINED };
    let mut sql = Statement::new("SELECT ");
    sql.sql(HEAD).sql(
        ", c.xid, c.business_id, c.changed, c.touched, NULL::bigint AS counted FROM cache_epoch e LEFT JOIN LATERAL (",
    );
    sql.append(visible("xid, business_id, changed, touched", since)).sql(") c ON true LIMIT ").number(most + 1);
    let seen = read(conn, &sql, false)?;
    #[cfg(feature = "mutants")]
    if crate::base::mutants::is(crate::base::mutants::Mutant::PartOfMany) {
        return Ok(seen);
    }
    if seen.changes.len() <= most as usize || since.is_none() {
        return Ok(seen);
    }
    let mut sql = Statement::new("SELECT ");
    sql.sql(HEAD).sql(
        ", c.xid, c.business_id, c.changed, NULL::uuid[] AS touched, c.counted FROM cache_epoch e LEFT JOIN LATERAL (\
         SELECT max(xid::text::bigint) AS xid, business_id, changed, count(*) AS counted FROM (SELECT * FROM (",
    );
    sql.append(visible("xid, business_id, changed", since)).sql(") v LIMIT ").number(MAX_GROUPED + 1);
    read(conn, sql.sql(") g GROUP BY business_id, changed) c ON true"), true)
}

/// What each round reads besides the changes, of the only row of `cache_epoch e`. The number of the log costs nothing: it is part of
/// the plan, which is made anew when the table is dropped.
const HEAD: &str = "pg_current_snapshot()::text AS snapshot, e.id AS epoch, 'public.change_log'::regclass::oid AS log, e.mark::text AS mark";

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
    let rows = sql.load::<RoundRow>(conn)?;
    // Without its row, since a crash or a promotion, a new connection begins another epoch.
    let first = rows.first().ok_or("the database has lost its epoch")?;
    let mark: Option<Snapshot> = first.mark.as_ref().map(|text| text.parse()).transpose()?;
    let (snapshot, epoch): (Snapshot, _) = (first.snapshot.parse()?, (first.epoch, first.log));
    if mark.as_ref().is_some_and(|mark| mark.end() > snapshot.end()) {
        return Err("the mark of the trimming is of another server".into());
    }
    let change = |row: RoundRow| {
        let (xid, business, table) = (row.xid?.unsigned_abs(), row.business_id?, row.changed?);
        Some((Change { xid, is_several, business, table, touched: row.touched }, row.counted.unwrap_or(1)))
    };
    let (changes, counted): (Vec<_>, Vec<i64>) = rows.into_iter().filter_map(change).unzip();
    let is_partial = counted.iter().sum::<i64>() > i64::from(if is_several { MAX_GROUPED } else { MAX_RETAINED });
    Ok(Seen { snapshot, epoch, mark, changes, is_partial })
}
