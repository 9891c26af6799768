//! Statistics for the planner soon after a table has filled. Autovacuum sees to it as well, a minute later as a rule; until
//! then plans are made for a table of nothing. What the API asks is right without (`noun/select.rs`), and faster with.

use actix_web::web::Data;

use super::Pace;
use crate::app::App;
use crate::db::Statement;
use crate::error::Result;

/// Tables of ours that have changed ten times as many rows as they are known to have, and of which this role is an owner: a role that
/// is not leaves it to autovacuum. An empty table stays unknown, which is better than known as empty: plans are made for some
/// pages then.
const OUTGROWN: &str = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid \
     WHERE c.relkind = 'r' AND s.n_live_tup > 0 AND s.n_mod_since_analyze > 10 * greatest(c.reltuples, 50) \
     AND pg_has_role(c.relowner, 'USAGE') \
     AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'businesses'::regclass)";

/// Looks at the tables that have outgrown what is known of them.
pub async fn renew(app: Data<App>) -> Result<Pace> {
    let outgrown = app.db.across().read("outgrown_tables", |conn| Ok(Statement::new(OUTGROWN).rows(conn)?)).await?;
    for row in outgrown {
        let Some(table) = row.text(0).map(str::to_owned) else { continue };
        // Skipped where someone else is at it.
        let sql = format!("ANALYZE (SKIP_LOCKED) {table}");
        app.db.across().read("analyze", move |conn| Ok(Statement::new(sql.as_str()).run(conn)?)).await?;
        tracing::debug!(table, "has new statistics");
    }
    Ok(Pace::Rest)
}
