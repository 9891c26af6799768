//! Checks of a migrated database's catalogue against the project's rules and every resource's definition.
//!
//! Rules that a table cannot enforce by itself are checked here once for all tables, so that a new resource cannot miss
//! them.

use std::collections::{BTreeMap, BTreeSet};

use rapport::app::registry::RESOURCES;
use rapport::db::Statement;
use rapport::resource::{Field, FieldType, Mutability, Resource};
use uuid::Uuid;

use crate::support::{Database, Samples, Service};

/// Tables without a tenant, with the reason.
const GLOBAL: [(&str, &str); 21] = [
    ("inbound_bodies", "one may concern several businesses, and whose it is is known once it was read"),
    ("webhook_backlogs", "what the sequencer has to do, whosever it is"),
    ("identities", "a person's, with their identity provider"),
    ("oidc_login_attempts", "before it is known who comes back"),
    ("passwords", "a person has one for all their businesses"),
    ("password_tokens", "they lead to a password"),
    ("service_secrets", "they are the service's own"),
    ("cache_warmup_queries", "what processes remember to ask; no rows of a business"),
    (
        "change_log",
        "the place within a transaction is no id; of people, who belong to no business, it has rows of none",
    ),
    ("change_log_position", "how far the sequencer is, in the whole database"),
    ("booking_day_checks", "what the data of time zones are, is the same for all"),
    ("stat_deltas", "the place within the changes is no id"),
    ("stat_quarters", "a sum is known by what it is of"),
    ("stat_days", "a sum is known by what it is of"),
    ("stat_zones", "a business has one"),
    ("stat_turns", "the answer identifies a turn, and the conversation comes before it"),
    ("change_log_horizons", "what was visible when, in the whole database"),
    ("cache_epoch", "it identifies the database itself"),
    ("__diesel_schema_migrations", "diesel's own"),
    ("businesses", "it is the tenant"),
    ("users", "one person may belong to several businesses"),
];

/// Constraints whose name is no `<table>_<column>_<kind>`, with the reason.
const ODD_NAMES: [(&str, &str); 1] = [("bookings_staff_overlap", "it spans staff and time; its room explains it")];

/// Views that are resources, with the tables behind them.
const VIEWS: [(&str, &[&str]); 2] =
    [("business_users", &["users", "memberships"]), ("audit_entries", &["audit_log", "change_log"])];

/// Sorts without an index, with the reason.
pub const UNINDEXED_SORTS: [(&str, &str); 3] = [
    ("audit_entries", "the log's tail is sorted, and merged with what an index gives: see query_plans"),
    ("business_users", "a business has few people; the join is sorted"),
    ("businesses", "a caller sees one row"),
];

/// Tables with `deleted_at` whose rows cannot be restored, with the reason.
const NEVER_RESTORED: [(&str, &str); 1] = [("message_reactions", "the person who took it back can react again")];

/// Why views of what rows count are granted to nobody.
const RECOUNT: &str = "the recount, which corrections, tests and benchmarks read";

/// Privileges of the role of row-level security (docs/SECURITY.md) on tables where they are not all of select, insert,
/// update and delete, with the reason. Tables that are neither here nor of a tenant: none.
const GRANTED: [(&str, &[&str], &str); 32] = [
    ("change_log_now", &["SELECT"], "a view of the position, with the caller's privileges"),
    ("audit_entries", &["SELECT"], "a view of both, with the caller's privileges"),
    ("change_log_tail", &["SELECT"], "a view of the log, with the caller's privileges"),
    (
        "change_log",
        &["SELECT"],
        "written by triggers as its owner; read for the entries of the audit log that are not in it yet",
    ),
    ("change_log_position", &["SELECT"], "it tells which those are"),
    ("stat_deltas", &["SELECT"], "written by triggers as their owner, and folded for all businesses at once"),
    ("stat_quarters", &["SELECT"], "sums, which the fold keeps"),
    ("stat_days", &["SELECT"], "sums, which the fold keeps"),
    ("stat_zones", &["SELECT"], "of which zone the days are"),
    ("stat_turns", &["SELECT"], "written by the fold"),
    ("conversation_closings", &["SELECT"], "written by a trigger as its owner"),
    ("stat_turns_now", &["SELECT"], "a view of messages, with the caller's privileges"),
    ("agent_metrics", &["SELECT"], "made on each night, for all businesses"),
    ("stat_differences", &[], RECOUNT),
    ("stat_facts", &[], RECOUNT),
    ("stat_facts_bookings", &[], RECOUNT),
    ("stat_facts_conversations", &[], RECOUNT),
    ("stat_facts_leads", &[], RECOUNT),
    ("stat_facts_messages", &[], RECOUNT),
    ("stat_facts_responses", &[], RECOUNT),
    ("stat_delta_facts", &["SELECT"], "a view of what is not folded, with the caller's privileges"),
    ("lead_facts", &["SELECT"], "a view of leads, with the caller's privileges"),
    ("stat_unfolded", &["SELECT"], "a view of what is not folded, with the caller's privileges"),
    ("idempotency_keys", &["SELECT", "INSERT", "UPDATE"], "their time is over for all businesses at once"),
    ("webhook_deliveries", &["SELECT", "INSERT", "UPDATE"], "swept by the service itself when their webhook is gone"),
    ("events", &["SELECT"], "the audit log's entries in order; written by the sequencer, for all businesses"),
    ("audit_log", &["SELECT"], "written by triggers as its owner, never by the service; erasure is a function"),
    ("businesses", &["SELECT", "UPDATE"], "the tenant itself: its settings; it is made and removed by operators"),
    (
        "users",
        &["SELECT", "UPDATE"],
        "members; they are added and forgotten by functions that bypass row-level security",
    ),
    ("business_users", &["SELECT"], "a view of members, with the caller's privileges"),
    ("sessions", &["SELECT", "DELETE"], "begun and renewed by signing in, which belongs to no business"),
    ("refresh_tokens", &[], "how a session is renewed is nobody's business but the service's"),
];

struct Column {
    kind: String,
    not_null: bool,
    default: bool,
    generated: bool,
}

struct Catalogue {
    database: Database,
    /// By table or view, then by column.
    columns: BTreeMap<String, BTreeMap<String, Column>>,
    tables: BTreeSet<String>,
    /// By name.
    checks: BTreeMap<String, String>,
}

impl Catalogue {
    fn read() -> Self {
        let database = Database::create();
        let mut columns: BTreeMap<String, BTreeMap<String, Column>> = BTreeMap::new();
        let found = database.rows::<6>(
            "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
                    a.atthasdef::text, (a.attgenerated <> '')::text
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0
               AND NOT a.attisdropped",
        );
        for [table, name, kind, not_null, default, generated] in found {
            let [not_null, default, generated] = [not_null, default, generated].map(|flag| flag == "true");
            let column = Column { kind, not_null, default, generated };
            columns.entry(table).or_default().insert(name, column);
        }
        let tables = database
            .rows::<1>("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
            .into_iter()
            .map(|[table]| table)
            .collect();
        let checks = database
            .rows::<2>("SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'")
            .into_iter()
            .map(|[name, text]| (name, text))
            .collect();
        Self { database, columns, tables, checks }
    }

    /// Tables that have a tenant.
    fn tenants(&self) -> impl Iterator<Item = &str> {
        let global = |table: &str| GLOBAL.iter().any(|(name, _)| *name == table);
        self.tables.iter().map(String::as_str).filter(move |table| !global(table))
    }

    /// The check constraint of a resource's field, in any table behind it.
    fn check(&self, table: &str, field: &str) -> Option<&str> {
        let behind = VIEWS.iter().find(|(view, _)| *view == table).map_or(vec![table], |(_, tables)| tables.to_vec());
        behind.iter().find_map(|table| self.checks.get(&format!("{table}_{field}_check"))).map(String::as_str)
    }
}

fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn tenant_tables_have_primary_key_business_id_and_id() {
    let catalogue = Catalogue::read();
    let keys: BTreeMap<String, String> = catalogue
        .database
        .rows::<2>(
            "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
             WHERE contype = 'p' AND connamespace = 'public'::regnamespace",
        )
        .into_iter()
        .map(|[table, key]| (table, key))
        .collect();
    let mut faults = Vec::new();
    for table in catalogue.tenants() {
        match catalogue.columns[table].get("business_id") {
            Some(column) if column.not_null && column.kind == "uuid" => {}
            _ => faults.push(format!("{table}: business_id must be uuid NOT NULL")),
        }
        if keys[table] != "PRIMARY KEY (business_id, id)" {
            faults.push(format!("{table}: {}", keys[table]));
        }
    }
    assert_none(faults);
}

#[test]
fn foreign_keys_to_tenant_tables_include_business_id() {
    let catalogue = Catalogue::read();
    let links = catalogue.database.rows::<5>(
        "SELECT conname::text, conrelid::regclass::text, confrelid::regclass::text,
                (SELECT string_agg(a.attname, ',' ORDER BY k.place) FROM unnest(conkey) WITH ORDINALITY k (num, place)
                 JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.num),
                (SELECT string_agg(a.attname, ',' ORDER BY k.place) FROM unnest(confkey) WITH ORDINALITY k (num, place)
                 JOIN pg_attribute a ON a.attrelid = confrelid AND a.attnum = k.num)
         FROM pg_constraint WHERE contype = 'f'",
    );
    let tenants: BTreeSet<&str> = catalogue.tenants().collect();
    assert!(links.len() > 30, "the query found the links");
    let mut faults = Vec::new();
    for [name, table, target, from, to] in &links {
        if !tenants.contains(target.as_str()) {
            continue;
        }
        let composite = from.starts_with("business_id,") && to.starts_with("business_id,");
        if !tenants.contains(table.as_str()) || !composite {
            faults.push(format!("{name}: {table} ({from}) → {target} ({to})"));
        }
    }
    assert_none(faults);
}

#[test]
fn constraint_names_follow_table_column_kind() {
    let catalogue = Catalogue::read();
    // Unique indexes too: PostgreSQL reports violations by the index's name, like those of constraints.
    let named = catalogue.database.rows::<4>(
        "SELECT conname::text, conrelid::regclass::text, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f', 'u', 'x')
         UNION
         SELECT indexrelid::regclass::text, indrelid::regclass::text, 'u', pg_get_indexdef(indexrelid) FROM pg_index
         JOIN pg_class c ON c.oid = indexrelid
         WHERE indisunique AND NOT indisprimary AND c.relnamespace = 'public'::regnamespace",
    );
    let mut faults = Vec::new();
    for [name, table, kind, text] in named {
        if ODD_NAMES.iter().any(|(odd, _)| *odd == name) {
            continue;
        }
        let suffix = match kind.as_str() {
            "c" => "_check",
            "f" => "_fkey",
            "u" => "_key",
            _ => "no suffix stands for it",
        };
        let column = name
            .strip_prefix(&format!("{table}_"))
            .and_then(|rest| rest.strip_suffix(suffix))
            .filter(|column| catalogue.columns[&table].contains_key(*column) && text.contains(column));
        if column.is_none() {
            faults.push(format!("{name}: should be {table}_<column>{suffix}"));
        }
    }
    assert_none(faults);
}

#[test]
fn resource_fields_match_database_columns() {
    let catalogue = Catalogue::read();
    let mut faults = Vec::new();
    for resource in RESOURCES {
        let columns = &catalogue.columns[resource.table];
        let is_table = catalogue.tables.contains(resource.table);
        for field in resource.fields {
            let mut fault = |text: String| faults.push(format!("{}.{}: {text}", resource.table, field.name));
            let Some(column) = columns.get(field.name) else {
                fault("there is no such column".into());
                continue;
            };
            if column.generated && field.mutability != Mutability::ReadOnly {
                fault("PostgreSQL writes it, so nobody else can".into());
            }
            if !types(field.field_type).contains(&column.kind.as_str()) {
                fault(format!("{:?} does not fit {}", field.field_type, column.kind));
            }
            // A view's columns have no NOT NULL.
            if is_table && field.nullable == column.not_null {
                fault(format!("nullable: {}, NOT NULL: {}", field.nullable, column.not_null));
            }
            if is_table && field.default.is_some() && !column.default {
                fault("it has a default in the document and none in the database".into());
            }
            faults.extend(disagreement(&catalogue, resource, field, &column.kind));
        }
        if resource.soft_delete() && !columns.contains_key("deleted_at") {
            faults.push(format!("{}: rows can be restored, but there is no deleted_at", resource.table));
        }
        let odd = NEVER_RESTORED.iter().any(|(table, _)| *table == resource.table);
        if !resource.soft_delete() && columns.contains_key("deleted_at") && !odd {
            faults.push(format!("{}: nothing ever sets deleted_at", resource.table));
        }
    }
    assert_none(faults);
}

#[test]
fn batch_default_values_match_column_defaults() {
    let catalogue = Catalogue::read();
    let mut faults = Vec::new();
    for resource in RESOURCES.iter().filter(|resource| resource.operations.batch) {
        for field in resource.fields.iter().filter(|field| field.mutability != Mutability::ReadOnly) {
            let own = catalogue.database.ask(&format!(
                "SELECT coalesce(pg_get_expr(d.adbin, d.adrelid), 'NULL') FROM pg_attribute a
                 LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                 WHERE a.attrelid = '{}'::regclass AND a.attname = '{}'",
                resource.table, field.name
            ));
            // Required fields are always given; so are those that the resource's own rules set: never null, no default
            // here.
            let given = field.required || (!field.nullable && field.default.is_none());
            let described = field.default_sql().map_or("NULL".to_owned(), |sql| sql.text().to_owned());
            let kind = field.field_type.sql();
            let same = || {
                let sql = format!("SELECT (({described})::{kind} IS NOT DISTINCT FROM ({own})::{kind})::text");
                catalogue.database.ask(&sql) == "true"
            };
            if !given && !same() {
                faults.push(format!("{}.{}: described {described}, in the database {own}", resource.table, field.name));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn unique_fields_match_unique_indexes() {
    let catalogue = Catalogue::read();
    let mut faults = Vec::new();
    for resource in RESOURCES.iter().filter(|resource| resource.operations.batch) {
        let indexes = catalogue.database.rows::<1>(&format!(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '{}'::regclass AND indisunique AND NOT indisprimary",
            resource.table
        ));
        for field in resource.fields.iter().filter(|field| field.mutability != Mutability::ReadOnly) {
            let column = if field.fold_case { format!("lower({})", field.name) } else { field.name.to_owned() };
            let unique = indexes.iter().any(|[index]| index.contains(&format!(" (business_id, {column})")));
            if unique != field.unique {
                faults.push(format!("{}.{}: unique {unique}, described {}", resource.table, field.name, field.unique));
            }
        }
    }
    assert_none(faults);
}

/// SQL types that can hold a field type.
fn types(kind: FieldType) -> &'static [&'static str] {
    match kind {
        FieldType::Uuid => &["uuid"],
        FieldType::Text { .. }
        | FieldType::Secret { .. }
        | FieldType::Choice(_)
        | FieldType::Email
        | FieldType::Domain
        | FieldType::Phone
        | FieldType::Zone
        | FieldType::Currency
        | FieldType::Country => &["text"],
        FieldType::Int { .. } => &["integer", "bigint"],
        FieldType::Bool => &["boolean"],
        FieldType::Time => &["timestamp with time zone"],
        FieldType::Date => &["date"],
        // eight digits before the point and six after
        FieldType::Decimal => &["numeric(14,6)"],
        FieldType::Tags => &["text[]"],
        FieldType::Object | FieldType::Hours => &["jsonb"],
    }
}

/// Describes a mismatch between the values that a field accepts and those that its check allows.
fn disagreement(catalogue: &Catalogue, resource: &Resource, field: &Field, column: &str) -> Option<String> {
    let check = catalogue.check(resource.table, field.name);
    let fault = |text: String| Some(format!("{}.{}: {text}", resource.table, field.name));
    match field.field_type {
        FieldType::Choice(among) => {
            // The first list; a condition on other columns may follow it.
            let list = check.unwrap_or_default().split("ARRAY[").nth(1).and_then(|rest| rest.split(']').next());
            let listed: BTreeSet<&str> = list.unwrap_or_default().split('\'').skip(1).step_by(2).collect();
            let described: BTreeSet<&str> = among.iter().copied().collect();
            (listed != described).then(|| fault(format!("described {described:?}, checked {listed:?}")))?
        }
        FieldType::Int { min, max } if field.mutability != Mutability::ReadOnly => {
            let (low, high) = bounds(check.unwrap_or_default());
            // Bounds that the type or JavaScript imposes need no check.
            let widest = if column == "integer" { i64::from(i32::MAX) } else { (1 << 53) - 1 };
            let high = high.unwrap_or(widest);
            (low != Some(min) || high != max).then(|| fault(format!("described {min} to {max}, checked {check:?}")))?
        }
        _ => None,
    }
}

/// The numbers after `>=` and `<=`.
fn bounds(check: &str) -> (Option<i64>, Option<i64>) {
    let after = |sign: &str| {
        let rest = check.split(sign).nth(1)?.trim_start_matches([' ', '(', '\'']);
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    (after(">="), after("<="))
}

#[test]
fn each_sort_uses_an_index() {
    let catalogue = Catalogue::read();
    let mut conn = catalogue.database.connect();
    // Other plans are disabled: a plan that sorts has found no index in the requested order.
    for setting in ["seqscan", "sort", "incremental_sort", "bitmapscan", "hashjoin", "mergejoin"] {
        crate::support::statement(format!("SET enable_{setting} = off")).run(&mut conn).expect("a setting");
    }
    let mut faults = Vec::new();
    for resource in
        RESOURCES.iter().filter(|resource| !UNINDEXED_SORTS.iter().any(|(table, _)| *table == resource.table))
    {
        for sort in resource.sorts {
            for direction in ["ASC", "DESC"] {
                let collation = if matches!(sort.field_type, FieldType::Text { .. }) { " COLLATE \"C\" " } else { " " };
                let mut sql = Statement::new("EXPLAIN (COSTS OFF) SELECT t.id, ");
                sql.append(sort.expression()).sql(" FROM ").ident(resource.table);
                sql.sql(" t WHERE t.").ident(resource.tenant_column).sql(" = ").bind(Uuid::nil());
                sql.sql(" ORDER BY ").append(sort.expression()).sql(collation).sql(direction);
                sql.sql(", t.id ").sql(direction).sql(" LIMIT 51");
                let plan = sql.scalars::<String>(&mut conn).expect("a plan");
                if plan.iter().any(|line| line.contains("Sort") || line.contains("Seq Scan")) {
                    faults.push(format!("{} by {} {direction}:\n{}", resource.plural, sort.name, plan.join("\n")));
                }
            }
        }
    }
    assert_none(faults);
}

#[test]
fn each_foreign_key_has_an_index() {
    let catalogue = Catalogue::read();
    // Deleting the referenced row searches for its references, and so does a list filtered by one of them.
    let faults = catalogue.database.rows::<2>(
        "SELECT conrelid::regclass::text, conname::text FROM pg_constraint f
         WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indrelid = f.conrelid AND i.indisvalid
              AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) LIKE '(% IS NOT NULL)')
              AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] = f.conkey)",
    );
    assert_none(faults.iter().map(|[table, name]| format!("{table}: no index for {name}")).collect());
}

#[test]
fn merge_references_cover_each_foreign_key() {
    rapport::app::registry::install();
    let catalogue = Catalogue::read();
    for resource in [&rapport::crm::contacts::CONTACTS, &rapport::crm::companies::COMPANIES] {
        let links = catalogue.database.rows::<2>(&format!(
            "SELECT conrelid::regclass::text, a.attname::text FROM pg_constraint
             JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = conkey[cardinality(conkey)]
             WHERE contype = 'f' AND confrelid = '{}'::regclass",
            resource.table
        ));
        let there: BTreeSet<String> = links.iter().map(|[table, column]| format!("{table}.{column}")).collect();
        let moved: BTreeSet<String> = rapport::crm::merges::references::to(resource).map(|link| link.name()).collect();
        assert!(there.len() >= 4, "the query found the links");
        assert_eq!(moved, there, "every reference to a contact or a company is a relation of its resource");
    }
}

#[test]
fn cached_source_tables_log_their_changes_and_links() {
    let catalogue = Catalogue::read();
    // Also during replication or restore: A, always enabled.
    let moved: BTreeSet<(String, String)> = catalogue
        .database
        .rows::<2>(
            "SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger
             WHERE NOT tgisinternal AND tgname LIKE 'log\\_%' AND tgenabled = 'A'",
        )
        .into_iter()
        .map(|[table, trigger]| (table, trigger))
        .collect();
    let read: BTreeSet<&str> = RESOURCES
        .iter()
        .filter(|resource| resource.cacheable)
        .flat_map(|resource| resource.tables())
        .copied()
        .collect();
    let mut faults = Vec::new();
    for table in read {
        for trigger in ["log_change", "log_truncate"] {
            if !moved.contains(&(table.to_owned(), trigger.to_owned())) {
                faults.push(format!("{table} has no trigger {trigger}"));
            }
        }
        // Lists are filtered by columns with ids, and then depend only on changes that name them.
        let function =
            catalogue.database.ask(&format!("SELECT prosrc FROM pg_proc WHERE proname = 'rapport_log_{table}'"));
        let links =
            catalogue.columns[table].iter().filter(|(name, column)| column.kind == "uuid" && *name != "business_id");
        for (name, _) in links {
            if !function.contains(&format!("OLD.{name}")) || !function.contains(&format!("NEW.{name}")) {
                faults.push(format!(
                    "rapport_log_{table} does not name {name}: call rapport_log_changes('{table}') again"
                ));
            }
        }
    }
    for resource in RESOURCES {
        let behind =
            VIEWS.iter().find(|(view, _)| *view == resource.table).map_or(vec![resource.table], |(_, t)| t.to_vec());
        if resource.tables() != behind {
            faults.push(format!("{} is read from {behind:?}, but says {:?}", resource.plural, resource.tables()));
        }
    }
    assert_none(faults);
}

/// The privileges of the row-level security role on `table`.
fn granted(table: &str) -> &'static [&'static str] {
    let listed = GRANTED.iter().find(|(name, ..)| *name == table).map(|(_, rights, _)| *rights);
    let global = GLOBAL.iter().any(|(name, _)| *name == table);
    listed.unwrap_or(if global { &[] } else { &["SELECT", "INSERT", "UPDATE", "DELETE"] })
}

#[test]
fn tenant_tables_have_row_level_security_and_minimal_grants() {
    let catalogue = Catalogue::read();
    // `true` if the table's only policy compares the business, for the role `rapport_tenant`, every command, reads and
    // writes.
    let secured: BTreeMap<String, String> = catalogue
        .database
        .rows::<2>(
            "SELECT c.relname::text, (c.relrowsecurity AND p.polpermissive AND p.polcmd = '*' AND p.polwithcheck IS NULL
                    AND p.polroles = ARRAY['rapport_tenant'::regrole::oid]
                    AND (SELECT count(*) = 1 FROM pg_policy o WHERE o.polrelid = c.oid)
                    AND pg_get_expr(p.polqual, c.oid) ~ '( = \\( SELECT rapport_business\\(\\) AS rapport_business\\))')::text
             FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace",
        )
        .into_iter()
        .map(|[table, good]| (table, good))
        .collect();
    let mut faults = Vec::new();
    for table in catalogue.tenants().chain([
        "businesses",
        "users",
        "change_log",
        "stat_deltas",
        "stat_quarters",
        "stat_days",
        "stat_zones",
        "stat_turns",
    ]) {
        if secured.get(table).map(String::as_str) != Some("true") {
            faults.push(format!(
                "{table}: no row-level security; its migration lacks `SELECT rapport_enable_tenant_rls('{table}')`"
            ));
        }
    }
    // Columns too, because privileges can be granted per column.
    let rights = catalogue.database.rows::<2>(
        "SELECT c.relname::text, string_agg(r, ',' ORDER BY place) FILTER (WHERE has_table_privilege('rapport_tenant', c.oid, r)
                OR r IN ('SELECT', 'INSERT', 'UPDATE') AND has_any_column_privilege('rapport_tenant', c.oid, r))
         FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) WITH ORDINALITY r (r, place)
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p') GROUP BY 1",
    );
    assert!(rights.len() > 20, "the query found the tables");
    for [table, rights] in &rights {
        let expected = granted(table).join(",");
        if *rights != expected {
            faults.push(format!("{table}: rapport_tenant may {rights:?}, and should {expected:?}"));
        }
    }
    // Functions that bypass the policies are callable by the service only, and have a fixed search path.
    let definers = catalogue.database.rows::<1>(
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef AND (
             NOT coalesce(proconfig, '{}') @> ARRAY['search_path=public, pg_temp']
             OR has_function_privilege('public', oid, 'EXECUTE'))",
    );
    faults
        .extend(definers.iter().map(|[name]| format!("{name}: SECURITY DEFINER for everybody, or by any search path")));
    // The role has no attributes beyond being a role.
    let role = catalogue.database.ask(
        "SELECT (rolsuper OR rolcanlogin OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolinherit)::text
         FROM pg_roles WHERE rolname = 'rapport_tenant'",
    );
    assert_eq!(role, "false", "rapport_tenant may log in, or bypass row-level security");
    assert_none(faults);
}

#[test]
fn tenant_role_limited_to_granted_statements_and_own_tenant() {
    let service = Service::start();
    let (other, neighbour) = service.neighbour();
    let mut both = [Samples::new(&service.client), Samples::new(&neighbour)];
    for resource in RESOURCES {
        both.iter_mut().for_each(|samples| drop(samples.row(resource)));
    }
    for client in [&service.client, &neighbour] {
        let once = client.request("POST", "campaigns").header("Idempotency-Key", "once");
        client.send(once.json(&serde_json::json!({ "name": "Once" }))).expect(201);
        let member = client.get("staff").expect(200).rows()[0]["id"].as_str().expect("an id").to_owned();
        let hours = serde_json::json!({ "weekday": "monday", "start": "09:00", "end": "17:00" });
        client.put(&format!("staff/{member}/schedule"), serde_json::json!({ "weekly": [hours] })).expect(200);
    }
    // What only triggers and nights write.
    service.database.run(
        "UPDATE conversations SET status = 'closed';
         INSERT INTO agent_metrics (business_id, user_id, window_days, ends_on, time_zone, figures)
             SELECT business_id, user_id, 7, '2026-11-01', 'UTC', '{}' FROM memberships;
         INSERT INTO channel_secrets (business_id, channel_id, kind, file_name) SELECT business_id, id, 'app_secret', 'x' FROM channels;
         INSERT INTO send_limits (business_id, id, free_at) SELECT business_id, id, now() FROM channels;
         INSERT INTO media_fetches (business_id, message_id, channel_id, media_id, gives_up_at) SELECT m.business_id, m.id, c.channel_id, '1', now() + interval '1 day'
             FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE c.channel_id IS NOT NULL;
         INSERT INTO read_receipts (business_id, id, channel_id, message_id, sent_at)
             SELECT business_id, id, id, id, now() FROM conversations;
         INSERT INTO ai_runs (business_id, run_id, kind, model, outcome) SELECT id, 'run', 'reply', 'm', 'sent' FROM businesses",
    );
    crate::sign_in::admit(&service, "acme", "amina@example.com", "agent");
    crate::sign_in::sign_in(&service, "amina@example.com").expect(201);
    // The database is a copy of another, which the first pass finds out.
    service.database.run("SELECT rapport_check_sequencer()");
    service
        .database
        .run("SELECT rapport_sequence_changes(10000); SELECT rapport_add_deliveries(10000, '{\"leads\": \"lead\"}')");
    let catalogue = Catalogue::read();
    let database = &service.database;
    let mut conn = database.connect();
    let mut try_as = |business: Option<Uuid>, sql: &str| -> Result<i64, String> {
        let run = |sql: &str, conn: &mut diesel::PgConnection| crate::support::statement(sql).run(conn);
        let business = business.map_or(String::new(), |id| id.to_string());
        let done = run("BEGIN", &mut conn)
            .and_then(|_| run("SET LOCAL ROLE rapport_tenant", &mut conn))
            .and_then(|_| run(&format!("SET LOCAL rapport.business = '{business}'"), &mut conn))
            .and_then(|_| run(sql, &mut conn));
        run("ROLLBACK", &mut conn).expect("the end");
        done.map(|rows| rows as i64).map_err(|error| error.to_string())
    };
    let mut faults = Vec::new();
    let views = VIEWS.iter().map(|(view, _)| *view);
    for table in catalogue.tables.iter().map(String::as_str).chain(views) {
        let columns = &catalogue.columns[table];
        let key = if table == "businesses" { "id" } else { "business_id" };
        let some = columns.keys().next().expect("a column");
        let statements = [
            ("SELECT", format!("SELECT * FROM {table}")),
            ("INSERT", format!("INSERT INTO {table} DEFAULT VALUES")),
            ("UPDATE", format!("UPDATE {table} SET {some} = {some}")),
            ("DELETE", format!("DELETE FROM {table}")),
            ("TRUNCATE", format!("TRUNCATE {table} CASCADE")),
        ];
        let is_table = catalogue.tables.contains(table);
        for (right, sql) in statements.iter().filter(|(right, _)| is_table || *right == "SELECT") {
            let allowed = granted(table).contains(right);
            for business in [None, Some(service.business)] {
                match try_as(business, sql) {
                    Err(error) if !allowed && !error.contains("permission denied") => {
                        faults.push(format!("{sql}: refused for another reason: {error}"));
                    }
                    Ok(_) if !allowed => faults.push(format!("{sql}: was not refused")),
                    Ok(rows @ 1..) if business.is_none() && table != "change_log_position" => {
                        faults.push(format!("{sql}: reached {rows} rows of no business"));
                    }
                    Err(error) if error.contains("permission denied") && allowed => {
                        faults.push(format!("{sql}: {error}"))
                    }
                    _ => {}
                }
            }
        }
        if !columns.contains_key(key)
            || GLOBAL
                .iter()
                .any(|(name, _)| *name == table && !matches!(table, "businesses" | "change_log" | "stat_deltas"))
        {
            continue;
        }
        // One business sees its own rows, not its neighbour's, and cannot give any away.
        let count = |id: Uuid| database.ask(&format!("SELECT count(*)::text FROM {table} WHERE {key} = '{id}'"));
        if granted(table).contains(&"SELECT") {
            let seen = try_as(Some(other), &format!("SELECT * FROM {table}"));
            assert_eq!(seen, Ok(count(other).parse().expect("a number")), "{table}");
            if is_table {
                assert_ne!(count(service.business), "0", "{table}: there is nothing to see");
            }
        }
        if granted(table).contains(&"UPDATE") && count(other) != "0" {
            let given = try_as(Some(other), &format!("UPDATE {table} SET {key} = '{}'", service.business));
            assert!(given.as_ref().is_err_and(|error| error.contains("row-level security")), "{table}: {given:?}");
        }
    }
    assert_none(faults);
}
