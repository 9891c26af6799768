//! Checks that `src/db/schema.rs` matches the migrations. `RAPPORT_WRITE_SCHEMA=1 cargo test schema` regenerates it.

use std::fmt::Write;

use crate::support::Database;

const HEADER: &str = "\
//! Tables as diesel sees them, written from the migrations: see tests/it/schema.rs.
//!
//! Generated columns (`search`, `sort_name`) are left out: PostgreSQL writes them, and nothing reads them by itself.
//! So are the log of changes and the cache's epoch, whose types diesel lacks, and the statistics with the facts of leads, whose statements are fixed. Of a view PostgreSQL does not know which columns are never null.
";

#[test]
fn diesel_schema_equals_migrated_database() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/db/schema.rs");
    let given = written(&Database::create());
    if std::env::var_os("RAPPORT_WRITE_SCHEMA").is_some() {
        std::fs::write(path, &given).expect("src/db/schema.rs");
    }
    let known = std::fs::read_to_string(path).expect("src/db/schema.rs");
    assert!(
        known == given,
        "src/db/schema.rs is not what the migrations give; write it with RAPPORT_WRITE_SCHEMA=1 cargo test schema"
    );
}

fn written(database: &Database) -> String {
    let mut out = HEADER.to_owned();
    let tables = database.rows::<2>(
        "SELECT c.relname::text, coalesce((SELECT string_agg(a.attname, ', ' ORDER BY k.place)
            FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (num, place)
            JOIN pg_attribute a ON a.attnum = k.num
            WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid), 'business_id, id')
         FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname NOT LIKE '\\_\\_%'
           AND c.relname NOT LIKE 'change\\_log%' AND c.relname NOT LIKE 'stat\\_%' AND c.relname NOT IN ('cache_epoch', 'lead_facts')
         ORDER BY 1",
    );
    for [table, key] in tables {
        write!(out, "\ndiesel::table! {{\n    {table} ({key}) {{\n").expect("a string");
        let columns = database.rows::<3>(&format!(
            "SELECT attname::text, format_type(atttypid, NULL), attnotnull::text FROM pg_attribute
             WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
             ORDER BY attnum"
        ));
        for [name, kind, not_null] in columns {
            let kind = diesel_type(&kind);
            let is_key = key.split(", ").any(|column| column == name);
            let kind = if not_null == "true" || is_key { kind.to_owned() } else { format!("Nullable<{kind}>") };
            writeln!(out, "        {name} -> {kind},").expect("a string");
        }
        out.push_str("    }\n}\n");
    }
    out
}

fn diesel_type(sql: &str) -> &'static str {
    match sql {
        "uuid" => "Uuid",
        "text" => "Text",
        // PostgreSQL cannot enforce that an element is not null; the service never writes one that is.
        "text[]" => "Array<Text>",
        "uuid[]" => "Array<Uuid>",
        "boolean" => "Bool",
        "smallint" => "SmallInt",
        "integer" => "Integer",
        "bigint" => "BigInt",
        "numeric" => "Numeric",
        "jsonb" => "Jsonb",
        "bytea" => "Binary",
        "date" => "Date",
        "timestamp with time zone" => "Timestamptz",
        other => panic!("tell tests/it/schema.rs what diesel calls {other}"),
    }
}
