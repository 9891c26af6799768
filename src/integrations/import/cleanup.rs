//! Background task which deletes expired import data: chunks of uploads which broke off, and files and row results past
//! their retention.

use std::time::Duration;

use crate::background::{BackgroundTask, TaskOutcome};
use crate::base::error::Result;
use crate::db::{Db, Statement, Tx};

/// Chunks deleted per transaction, a mebibyte each.
const CHUNKS: usize = 64;
/// Row results deleted per transaction, of one import.
const RECORDS: usize = 10_000;
/// Expired imports examined per transaction.
const IMPORTS: usize = 20;

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
    let sql = format!(
        "DELETE FROM import_chunks WHERE (business_id, id) IN (SELECT c.business_id, c.id FROM import_chunks c \
         WHERE c.created_at < now() - interval '1 day' AND NOT EXISTS (SELECT FROM imports i \
             WHERE i.business_id = c.business_id AND i.id = c.import_id) \
         ORDER BY c.created_at LIMIT {CHUNKS} FOR UPDATE SKIP LOCKED)"
    );
    Ok(Statement::new(sql).run(tx)? == CHUNKS)
}

/// Deletes the files and row results of imports which have been idle for `days`.
fn over(tx: &mut Tx<'_>, days: u32) -> Result<bool> {
    let mut sql = Statement::new(
        "SELECT i.business_id, i.id, i.run_id FROM imports i WHERE i.state NOT IN ('trying', 'importing', 'reverting') \
         AND NOT i.emptied AND greatest(i.created_at, i.finished_at, i.executed_at) < now() - ",
    );
    sql.bind(days).sql(" * interval '1 day' ");
    let imports = sql.push(&format!("ORDER BY i.created_at LIMIT {IMPORTS} FOR UPDATE SKIP LOCKED")).rows(tx)?;
    for row in &imports {
        let (business, import) = (row.uuid(0).unwrap_or_default(), row.uuid(1).unwrap_or_default());
        let mut gone = 0;
        let mut chunks = Statement::new(
            "DELETE FROM import_chunks WHERE (business_id, id) IN (SELECT business_id, id \
            FROM import_chunks WHERE business_id = ",
        );
        chunks.bind(business).sql(" AND import_id = ").bind(import);
        gone += chunks.push(&format!(" LIMIT {CHUNKS})")).run(tx)?;
        if let Some(run) = row.uuid(2) {
            let mut records = Statement::new("DELETE FROM import_row_results WHERE business_id = ");
            records.bind(business).sql(" AND id = ANY(ARRAY(SELECT id FROM import_row_results WHERE business_id = ");
            records.bind(business).append(super::row_results::within(run));
            gone += records.push(&format!(" ORDER BY id LIMIT {RECORDS}))")).run(tx)?;
        }
        if gone > 0 {
            // The next transaction deletes the rest.
            return Ok(true);
        }
        let mut done = Statement::new("UPDATE imports SET emptied = true WHERE business_id = ");
        done.bind(business).sql(" AND id = ").bind(import).run(tx)?;
    }
    Ok(imports.len() == IMPORTS)
}
