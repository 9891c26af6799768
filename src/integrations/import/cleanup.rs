//! Background task which deletes expired import data: chunks of uploads which broke off, and files and row results past
//! their retention.

use std::time::Duration;

use diesel::QueryableByName;
use uuid::Uuid;

use super::row_results;
use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::schema::imports;
use crate::db::{Db, Statement, Tx};

/// Chunks deleted per transaction, a mebibyte each.
const CHUNKS: u32 = 64;
/// Row results deleted per transaction, of one import.
const RECORDS: u32 = 10_000;
/// Expired imports examined per transaction.
const IMPORTS: u32 = 20;

/// The task; files and row results are kept for `retention_days`.
pub fn task(db: Db, retention_days: u32) -> BackgroundTask {
    BackgroundTask::new("import cleanup", Duration::from_secs(60), move || cleanup(db.clone(), retention_days))
}

/// Deletes some of it, across all businesses.
async fn cleanup(db: Db, retention_days: u32) -> Result<TaskOutcome> {
    let more = db.unscoped().write("import_cleanup", move |tx| {
        let orphans = orphans(tx)?;
        Ok(over(tx, retention_days)? || orphans)
    });
    Ok(if more.await? { TaskOutcome::Again } else { TaskOutcome::Rest })
}

/// Deletes chunks of uploads which broke off more than a day ago.
fn orphans(tx: &mut Tx<'_>) -> Result<bool> {
    let mut sql = Statement::new(
        "DELETE FROM import_chunks WHERE (business_id, id) IN (SELECT c.business_id, c.id FROM import_chunks c \
         WHERE c.created_at < now() - interval '1 day' AND NOT EXISTS (SELECT FROM imports i \
             WHERE i.business_id = c.business_id AND i.id = c.import_id) \
         ORDER BY c.created_at LIMIT ",
    );
    let deleted = sql.number(CHUNKS).sql(" FOR UPDATE SKIP LOCKED)").run(tx)?;
    Ok(deleted == CHUNKS as usize)
}

/// An import whose file and row results have expired.
#[derive(QueryableByName)]
#[diesel(table_name = imports)]
struct ExpiredImport {
    business_id: Uuid,
    id: Uuid,
    run_id: Option<Uuid>,
}

/// Deletes the files and row results of imports which have been idle for `days`.
fn over(tx: &mut Tx<'_>, days: u32) -> Result<bool> {
    let mut sql = Statement::new(
        "SELECT i.business_id, i.id, i.run_id FROM imports i WHERE i.state NOT IN ('trying', 'importing', 'reverting') \
         AND NOT i.emptied AND greatest(i.created_at, i.finished_at, i.executed_at) < now() - ",
    );
    sql.bind(days).sql(" * interval '1 day' ORDER BY i.created_at LIMIT ").number(IMPORTS);
    let imports: Vec<ExpiredImport> = sql.sql(" FOR UPDATE SKIP LOCKED").load(tx)?;
    for &ExpiredImport { business_id, id, run_id } in &imports {
        let mut chunks = Statement::new(
            "DELETE FROM import_chunks WHERE (business_id, id) IN (SELECT business_id, id \
            FROM import_chunks WHERE business_id = ",
        );
        chunks.bind(business_id).sql(" AND import_id = ").bind(id).sql(" LIMIT ").number(CHUNKS);
        let mut gone = chunks.sql(")").run(tx)?;
        if let Some(run) = run_id {
            gone += row_results::delete(tx, business_id, run, RECORDS)?;
        }
        if gone > 0 {
            // The next transaction deletes the rest.
            return Ok(true);
        }
        let mut done = Statement::new("UPDATE imports SET emptied = true WHERE business_id = ");
        done.bind(business_id).sql(" AND id = ").bind(id).run(tx)?;
    }
    Ok(imports.len() == IMPORTS as usize)
}
