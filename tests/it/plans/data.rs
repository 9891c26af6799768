//! A database large enough for its plans to mean something, made in half a minute: each table is filled without its
//! indexes, which are then built at once.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use rapport::db::Statement;

use crate::support::Database;

const FUNCTIONS: &str = include_str!("functions.sql");
const DATA: &str = include_str!("data.sql");

pub fn fill(database: &Database) {
    let tables: Vec<(&str, &str)> = DATA
        .split("-- table: ")
        .skip(1)
        .filter_map(|block| block.split_once('\n'))
        .map(|(table, sql)| (table.trim(), sql))
        .collect();
    // Half of the work is the last table: it is made beside the others.
    let (last, others) = tables.split_last().expect("tables");
    std::thread::scope(|scope| {
        scope.spawn(|| others.iter().for_each(|(table, sql)| fill_table(&mut connect(database), table, sql)));
        scope.spawn(|| fill_table(&mut connect(database), last.0, last.1));
    });
}

fn connect(database: &Database) -> PgConnection {
    let mut conn = database.connect();
    // No foreign keys: that the rows agree is in their making.
    let settings = "SET session_replication_role = replica; SET maintenance_work_mem = '512MB'; SET work_mem = '128MB';
                    SET jit = off; SET TIME ZONE 'UTC';";
    conn.batch_execute(settings).expect("settings");
    conn.batch_execute(FUNCTIONS).expect("functions");
    conn
}

fn fill_table(conn: &mut PgConnection, table: &str, sql: &str) {
    let indexes = Statement::new(format!(
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
    run(&format!("VACUUM (ANALYZE) {table}"));
}
