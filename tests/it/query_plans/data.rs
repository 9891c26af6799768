//! Test data large enough for meaningful query plans: each table is filled without its indexes, which are then built at
//! once.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;

use super::generated;
use crate::support::Database;

const FUNCTIONS: &str = include_str!("functions.sql");
const DATA: &str = include_str!("data.sql");

/// Fills and analyses every table. `RAPPORT_TEST_PLANS_ROWS` is the maximum of rows per table (messages have up to a
/// million); the default of twelve thousand is much faster.
pub fn fill(database: &Database) {
    let most = std::env::var("RAPPORT_TEST_PLANS_ROWS").map_or(12_000, |text| text.parse().expect("a number"));
    fill_up_to(database, most, true);
}

/// Rows per table without planner statistics: enough that a missing index costs a hundred times as much.
pub const FEW: u32 = 2_000;

/// Fills every table with [`FEW`] rows that are never analysed.
pub fn fill_unanalysed(database: &Database) {
    // Autovacuum, which test servers run, must not analyse them later.
    let tables = database.rows::<1>(
        "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '\\_\\_%'",
    );
    for [table] in tables {
        database.run(&format!("ALTER TABLE {table} SET (autovacuum_enabled = off)"));
    }
    fill_up_to(database, FEW, false);
}

fn fill_up_to(database: &Database, rows: u32, looked_at: bool) {
    let mut tables: Vec<(&str, String)> = DATA
        .split("-- table: ")
        .skip(1)
        .filter_map(|block| block.split_once('\n'))
        .map(|(table, sql)| (table.trim(), sql.to_owned()))
        .collect();
    let written: Vec<&str> = tables.iter().map(|(table, _)| *table).collect();
    let generated = generated::blocks(&written);
    tables.splice(..0, generated);
    let run = |table: &str, sql: &str| fill_table(&mut connect(database), table, &capped(sql, rows), looked_at);
    // The last table is half of the work: it is filled in parallel with the others.
    let (last, others) = tables.split_last().expect("tables");
    std::thread::scope(|scope| {
        scope.spawn(|| others.iter().for_each(|(table, sql)| run(table, sql)));
        scope.spawn(|| run(last.0, &last.1));
    });
}

/// `sql` with no series of more than `most` rows.
fn capped(sql: &str, most: u32) -> String {
    const SERIES: &str = "generate_series(0, ";
    let mut parts = sql.split(SERIES);
    let mut capped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (last, rest) = part.split_once(')').expect("the end of a series");
        let last: u32 = last.parse().expect("a number");
        capped.push_str(&format!("{SERIES}{}){rest}", last.min(most.saturating_sub(1))));
    }
    capped
}

fn connect(database: &Database) -> PgConnection {
    let mut conn = database.connect();
    // No foreign keys: the rows are consistent by construction.
    let settings = "SET session_replication_role = replica; SET maintenance_work_mem = '512MB'; SET work_mem = '128MB';
                    SET jit = off; SET TIME ZONE 'UTC';";
    conn.batch_execute(settings).expect("settings");
    conn.batch_execute(FUNCTIONS).expect("functions");
    conn
}

fn fill_table(conn: &mut PgConnection, table: &str, sql: &str, looked_at: bool) {
    let indexes = crate::support::statement(format!(
        "SELECT c.relname::text, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE i.indrelid = '{table}'::regclass AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)"
    ));
    let indexes = indexes.rows(conn).expect("indexes");
    let mut run = |sql: &str| conn.batch_execute(sql).unwrap_or_else(|error| panic!("{table}: {error}"));
    for index in &indexes {
        run(&format!("DROP INDEX {}", index.text(0).expect("a name")));
    }
    run(sql);
    for index in &indexes {
        run(index.text(1).expect("a definition"));
    }
    if looked_at {
        run(&format!("VACUUM (ANALYZE) {table}"));
    }
}
