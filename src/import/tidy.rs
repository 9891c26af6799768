//! What is kept of imports goes when it has had its time: files that nothing was made of, and files and records that are too old
//! to be looked at or taken back.

use actix_web::web::Data;

use crate::app::App;
use crate::db::{Statement, Tx, Value};
use crate::error::Result;
use crate::jobs::Pace;

/// Chunks that go in one transaction, a mebibyte each.
const CHUNKS: usize = 64;
/// Records that go in one transaction.
const RECORDS: usize = 10_000;
/// Imports whose time is over that are looked at in one transaction.
const IMPORTS: usize = 20;

/// Clears away some of it. Across all businesses.
pub async fn tidy(app: Data<App>) -> Result<Pace> {
    let days = app.config.import_days;
    let more = app.db.across().write("import_tidy", move |tx| {
        let orphans = orphans(tx)?;
        Ok(over(tx, days)? || orphans)
    });
    Ok(if more.await? { Pace::Again } else { Pace::Rest })
}

/// Parts of files whose upload broke off.
fn orphans(tx: &mut Tx<'_>) -> Result<bool> {
    let sql = format!(
        "DELETE FROM import_chunks WHERE (business_id, id) IN (SELECT c.business_id, c.id FROM import_chunks c \
         WHERE c.created_at < now() - interval '1 day' AND NOT EXISTS (SELECT FROM imports i \
             WHERE i.business_id = c.business_id AND i.id = c.import_id) \
         ORDER BY c.created_at LIMIT {CHUNKS} FOR UPDATE SKIP LOCKED)"
    );
    Ok(Statement::new(sql).run(tx)? == CHUNKS)
}

/// What imports have kept that rest since before the time that is given them.
fn over(tx: &mut Tx<'_>, days: u32) -> Result<bool> {
    let mut sql = Statement::new(
        "SELECT i.business_id, i.id, i.run_id FROM imports i WHERE i.state NOT IN ('trying', 'importing', 'reverting') \
         AND NOT i.emptied AND greatest(i.created_at, i.finished_at, i.executed_at) < now() - ",
    );
    sql.bind(Value::Int(Some(days.into()))).push(" * interval '1 day' ");
    let imports = sql.push(&format!("ORDER BY i.created_at LIMIT {IMPORTS} FOR UPDATE SKIP LOCKED")).rows(tx)?;
    for row in &imports {
        let (business, import) = (row.uuid(0).unwrap_or_default(), row.uuid(1).unwrap_or_default());
        let mut gone = 0;
        let mut chunks = Statement::new(
            "DELETE FROM import_chunks WHERE (business_id, id) IN (SELECT business_id, id \
            FROM import_chunks WHERE business_id = ",
        );
        chunks.bind(Value::Uuid(Some(business))).push(" AND import_id = ").bind(Value::Uuid(Some(import)));
        gone += chunks.push(&format!(" LIMIT {CHUNKS})")).run(tx)?;
        if let Some(run) = row.uuid(2) {
            let mut records = Statement::new("DELETE FROM import_rows WHERE business_id = ");
            records
                .bind(Value::Uuid(Some(business)))
                .push(" AND id = ANY(ARRAY(SELECT id FROM import_rows WHERE business_id = ");
            records.bind(Value::Uuid(Some(business))).append(super::record::within(run));
            gone += records.push(&format!(" ORDER BY id LIMIT {RECORDS}))")).run(tx)?;
        }
        if gone > 0 {
            // The rest with the next transaction.
            return Ok(true);
        }
        let mut done = Statement::new("UPDATE imports SET emptied = true WHERE business_id = ");
        done.bind(Value::Uuid(Some(business))).push(" AND id = ").bind(Value::Uuid(Some(import))).run(tx)?;
    }
    Ok(imports.len() == IMPORTS)
}
