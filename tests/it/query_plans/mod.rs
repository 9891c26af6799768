//! Tests of query plans: EXPLAIN of every statement that the API can send, over 12,000 rows of each table. No statement
//! may scan a whole tenant table, and no index may be unused. `make prove-plans` (`RAPPORT_TEST_PLANS_ROWS=1000000`)
//! has 100,000 leads and a million messages.
//!
//! The statements are the service's own, planned on a connection of its own pool. `RAPPORT_PLANS=1` also executes them
//! and prints the most expensive, with time and pages. `RAPPORT_PLANS_RLS=1` also plans them under row-level
//! security, and prints which lose their index to it.

mod bounded;
mod data;
mod generated;
mod joins;
mod questions;

use std::collections::{BTreeMap, BTreeSet};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use rapport::app::registry::RESOURCES;
use rapport::db::SqlValue;
use rapport::resource::list_query::FilterOp;
use serde_json::Value as Json;

use crate::support::{Database, open_db};
use questions::Question;

/// In a plan's shape: the page walks the index, and what is not in the audit log yet is sorted.
const MERGED_TAIL: &str = " Merge Append Index Scan:audit_log_created_at_idx";

/// Indexes that no read of the API uses, with the reason.
const FOR_WRITES: [(&str, &str); 55] = [
    ("conversations_snoozed_until_idx", "those whose time has come are woken by it"),
    ("attachments_expires_at_idx", "uploads that nobody used are cleared away"),
    ("attachment_parts_pending_since_idx", "what broke off is cleared away"),
    ("media_fetches_channel_id_idx", "files that are due are claimed by it"),
    ("media_fetches_gives_up_at_idx", "files that channels have forgotten are given up"),
    ("worker_tasks_lease_until_idx", "leases that end for good are found by it"),
    ("worker_tasks_ended_at_idx", "tasks that ended long ago are cleared away"),
    ("conversations_peer_id_idx", "what a channel delivers of the past goes on in a closed conversation"),
    ("inbound_updates_people_idx", "who is forgotten is forgotten here, too"),
    ("message_attempts_external_id_idx", "a status of an earlier attempt is known by it"),
    ("message_attempts_open_idx", "whether an older one is on its way, decides whether it is its turn"),
    ("message_attempts_due_at_idx", "what is due is claimed by it"),
    ("message_attempts_unsettled_idx", "what a process left, and what no status has settled, is found by it"),
    ("read_receipts_due_at_idx", "what is due is claimed by it"),
    ("send_limits_free_at_idx", "limits that are over are forgotten by it"),
    ("conversations_can_reply_idx", "windows that end are found by it"),
    ("inbound_bodies_number_ids_idx", "who connects a number gets what came for it"),
    ("inbound_bodies_people_idx", "who is forgotten is forgotten here, too"),
    ("inbound_updates_expires_at_idx", "those that have waited long enough are cleared away"),
    ("contact_identities_value_idx", "a message finds by it who wrote it"),
    ("contact_identities_match_key_idx", "the same, by another spelling of the number"),
    ("contact_identities_peer_id_idx", "names of a peer are read, and move to another contact, together"),
    ("messages_unpriced_idx", "those without a cost are priced when rates change"),
    ("messages_reply_to_id_idx", "a message that is deleted leaves its answers"),
    ("message_reactions_contact_id_idx", "a contact that is deleted leaves them, and a merge moves them"),
    ("channels_account_id_idx", "what an account delivers finds its channel by it"),
    ("channel_secrets_channel_id_idx", "a channel is read with its secrets; their list is no resource's"),
    ("channel_secrets_digest_idx", "a channel is found by its verify token"),
    ("inbound_bodies_due_at_idx", "what is due is claimed by it"),
    ("inbound_bodies_received_at_idx", "those whose time is over are cleared away"),
    ("inbound_bodies_signed_by_idx", "a business that is deleted takes its bodies along"),
    ("change_log_place_idx", "the sequencer walks it where there is more than one pass enters"),
    (
        "conversation_closings_conversation_id_idx",
        "turns of a conversation are read again, and it is deleted with them",
    ),
    ("change_log_xid_idx", "validation rounds find by it what became visible"),
    ("idempotency_keys_created_at_idx", "those whose time is over are cleared away"),
    ("imports_job_id_idx", "a job that fails or is cancelled lets its import know"),
    ("imports_emptied_idx", "files that have had their time are cleared away"),
    ("import_chunks_created_at_idx", "parts that nothing was made of are cleared away"),
    (
        "import_row_results_row_id_idx",
        "rows of a file that mean the same are noticed, and who is forgotten is forgotten here, too",
    ),
    ("jobs_finished_at_idx", "those that ended long ago are cleared away"),
    ("tasks_reminder_idx", "reminders look for what is due, in all businesses"),
    ("bookings_reminder_idx", "the same, for what is about to begin"),
    ("webhook_deliveries_created_at_idx", "their list is no resource's of its own"),
    ("webhook_deliveries_next_attempt_at_idx", "what is due is taken by it"),
    ("webhook_deliveries_pings_idx", "the same, of one that is paused: tests/it/webhooks.rs looks at that"),
    ("webhook_deliveries_open_idx", "what waits behind what is delivered"),
    ("webhook_deliveries_row_id_idx", "what was answered about who is forgotten"),
    ("identities_user_id_idx", "a person who is forgotten takes them along"),
    ("oidc_login_attempts_expires_at_idx", "those that are over are swept"),
    (
        "refresh_tokens_session_id_idx",
        "tokens end with their session, and a renewal looks for those that one has given",
    ),
    ("sessions_user_id_idx", "sessions end with the membership; their list is no resource's"),
    ("sessions_person_idx", "a new password ends them in every business"),
    ("sessions_expires_at_idx", "those that are over are cleared away"),
    ("password_tokens_user_id_idx", "they end with their person, and with a new password"),
    ("password_tokens_expires_at_idx", "those that are over are cleared away"),
];

/// Reads that may scan, with the reason.
const MAY_SCAN: [(&str, &str); 0] = [];

/// Lists that look up few rows by a field which is not unique, and duplicate checks, with the index that must be used.
const LOOKED_UP: [(&str, &str); 20] = [
    ("channels?phone_number_id=", "channels_phone_number_id_key"),
    ("counts of an inbox", "conversations_counts_idx"),
    ("conversations?snoozed=true&sort=last_message_at", "conversations_snoozed_idx"),
    ("messages?q=granite&sort=", "messages_sent_at_idx"),
    ("messages?q=granite&count=true", "messages_sent_at_idx"),
    ("notes?q=granite&sort=", "notes_created_at_idx"),
    ("claim of tasks", "worker_tasks_status_idx"),
    ("runs of models in a period", "ai_runs_ended_at_idx"),
    ("bookings?customer_phone=", "bookings_customer_phone_idx"),
    ("contacts?phone=", "contacts_phone_idx"),
    ("conversations?address=", "conversations_address_idx"),
    ("contacts like 0", "contacts_mailbox_idx"),
    ("contacts like 1", "contacts_phone_idx"),
    ("contacts like 3", "contacts_external_id_key"),
    ("contacts like 4", "contacts_search_idx"),
    ("contacts like 5", "contacts_search_idx"),
    ("companies like 1", "companies_phone_idx"),
    ("companies like 2", "companies_domain_key"),
    ("companies like 4", "companies_search_idx"),
    ("companies like 5", "companies_called_idx"),
];

/// The index that each statement must use whose name begins like this, with any sort: [`LOOKED_UP`], and the index of each
/// unique field by which a list can be filtered.
fn lookups() -> Vec<(String, String)> {
    let fixed = LOOKED_UP.map(|(query, index)| (query.to_owned(), index.to_owned()));
    let keys = RESOURCES.iter().flat_map(|resource| resource.unique_fields().map(move |key| (resource, key)));
    let keys = keys.filter(|(resource, key)| resource.operations.batch && !FilterOp::of(key).is_empty());
    let keys = keys.map(|(resource, key)| {
        (format!("{}?{}=", resource.plural, key.name), format!("{}_{}_key", resource.table, key.name))
    });
    fixed.into_iter().chain(keys).collect()
}

#[test]
fn every_api_query_uses_an_index_and_none_is_unused() {
    let database = Database::create();
    data::fill(&database);
    let db = open_db(&database, &["--statement-timeout-ms", "15000"]);
    let report = std::env::var_os("RAPPORT_PLANS").is_some();
    let explained = actix_web::rt::System::new().block_on(db.unscoped().read("explain", move |conn| {
        let questions = questions::all(conn);
        let explained = questions.iter().map(|question| explain(conn, question, report)).collect::<Vec<_>>();
        if std::env::var_os("RAPPORT_PLANS_RLS").is_some() {
            conn.batch_execute(&format!("SET ROLE rapport_tenant; SET rapport.business = '{}'", questions::BUSY))?;
            print_lost(&questions, &explained, conn);
            conn.batch_execute("RESET ROLE; RESET rapport.business")?;
        }
        Ok(explained)
    }));
    let explained = explained.expect("plans");
    if report {
        print(&explained);
    }

    let scans: Vec<String> = explained
        .iter()
        .filter(|plan| !plan.scanned.is_empty() && !MAY_SCAN.iter().any(|(name, _)| plan.name.starts_with(name)))
        .map(|plan| format!("{}: reads all of {:?}", plan.name, plan.scanned))
        .collect();
    let used: BTreeSet<&str> = explained.iter().flat_map(|plan| &plan.indexes).map(String::as_str).collect();
    let idle: Vec<String> = kept_for_reads(&database)
        .into_iter()
        .filter(|index| !used.contains(index.as_str()) && !FOR_WRITES.iter().any(|(name, _)| name == index))
        .collect();
    let lookups = lookups();
    let walked: Vec<String> = explained
        .iter()
        .filter_map(|plan| {
            let (_, index) = lookups.iter().find(|(query, _)| plan.name.starts_with(query))?;
            (!plan.indexes.contains(index)).then(|| format!("{} |{}", plan.name, plan.shape))
        })
        .collect();
    let sorted: Vec<&str> = explained
        .iter()
        .filter(|plan| plan.plain && plan.shape.contains(" Sort") && !plan.shape.contains(MERGED_TAIL))
        .map(|plan| plan.name.as_str())
        .collect();
    let repeated: Vec<&str> = explained
        .iter()
        .filter(|plan| plan.name.starts_with("counts of") && plan.shape.contains(" per row:"))
        .map(|plan| plan.shape.as_str())
        .collect();
    assert!(repeated.is_empty(), "counts with a query for each row: {repeated:#?}");
    assert!(walked.is_empty(), "lookups that walk another index: {walked:#?}");
    assert!(lookups.len() > 22, "{lookups:?}");
    assert!(explained.len() > 500, "{} questions", explained.len());
    assert!(scans.is_empty(), "{} of {}\n{}", scans.len(), explained.len(), scans.join("\n"));
    assert!(sorted.is_empty(), "pages that sort instead of walking an index: {sorted:#?}");
    assert!(idle.is_empty(), "indexes that nothing uses: {idle:#?}");
}

struct Explained {
    name: String,
    /// An unfiltered page: it must walk the index of its sort.
    plain: bool,
    cost: f64,
    /// Tables that are scanned completely.
    scanned: BTreeSet<String>,
    indexes: BTreeSet<String>,
    /// Milliseconds and pages, if it was executed.
    ran: Option<(f64, i64)>,
    shape: String,
}

/// The plan of a query, as PostgreSQL's EXPLAIN returns it.
fn plan(conn: &mut PgConnection, question: &Question, options: &str) -> Json {
    let (text, values) = question.statement.numbered();
    let types: Vec<&str> = values.iter().map(|value| sql_type(value)).collect();
    let types = if types.is_empty() { String::new() } else { format!("({})", types.join(", ")) };
    let literals: Vec<String> = values.iter().map(|value| literal(value)).collect();
    let literals = if literals.is_empty() { String::new() } else { format!("({})", literals.join(", ")) };
    // Like in the service: prepared, and planned without the values.
    conn.batch_execute(&format!("PREPARE question{types} AS {text}"))
        .unwrap_or_else(|error| panic!("{}: {error}\n{text}", question.name));
    let sql = crate::support::statement(format!("EXPLAIN ({options}) EXECUTE question{literals}"));
    let row = sql.row(conn).unwrap_or_else(|error| panic!("{}: {error}", question.name)).expect("a plan");
    conn.batch_execute("DEALLOCATE question").expect("it was prepared");
    serde_json::from_str(row.text(0).expect("text")).expect("JSON")
}

fn explain(conn: &mut PgConnection, question: &Question, run: bool) -> Explained {
    let plan = plan(conn, question, if run { "ANALYZE, BUFFERS, FORMAT JSON" } else { "FORMAT JSON" });
    let top = &plan[0]["Plan"];
    let mut explained = Explained {
        name: question.name.clone(),
        plain: question.plain,
        cost: top["Total Cost"].as_f64().unwrap_or_default(),
        scanned: BTreeSet::new(),
        indexes: BTreeSet::new(),
        ran: run.then(|| {
            let pages = ["Shared Hit Blocks", "Shared Read Blocks"].map(|name| top[name].as_i64().unwrap_or_default());
            (plan[0]["Execution Time"].as_f64().unwrap_or_default(), pages.iter().sum())
        }),
        shape: String::new(),
    };
    walk(top, &mut explained);
    explained
}

fn walk(node: &Json, into: &mut Explained) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let table = node["Relation Name"].as_str().unwrap_or_default();
    // It has one row.
    if kind == "Seq Scan" && table != "change_log_position" {
        into.scanned.insert(table.to_owned());
    }
    if node["Parent Relationship"] == "SubPlan" {
        into.shape.push_str(" per row:");
    }
    if let Some(index) = node["Index Name"].as_str() {
        into.indexes.insert(index.to_owned());
        into.shape.push_str(&format!(" {kind}:{index}"));
    } else {
        into.shape.push_str(&format!(" {kind}"));
    }
    node["Plans"].as_array().into_iter().flatten().for_each(|below| walk(below, into));
}

pub fn sql_type(value: &SqlValue) -> &'static str {
    match value {
        SqlValue::Bool(_) => "boolean",
        SqlValue::Int(_) => "bigint",
        SqlValue::Text(_) | SqlValue::Decimal(_) => "text",
        SqlValue::Uuid(_) => "uuid",
        SqlValue::Time(_) => "timestamptz",
        SqlValue::Date(_) => "date",
        SqlValue::Json(_) => "jsonb",
        SqlValue::Bytes(_) => "bytea",
        SqlValue::Ints(_) => "bigint[]",
        SqlValue::Texts(_) => "text[]",
        SqlValue::Uuids(_) => "uuid[]",
        SqlValue::Dates(_) => "date[]",
        SqlValue::Times(_) => "timestamptz[]",
    }
}

pub fn literal(value: &SqlValue) -> String {
    fn list<T: ToString>(values: &[T]) -> String {
        format!("'{{{}}}'", values.iter().map(T::to_string).collect::<Vec<_>>().join(","))
    }
    match value {
        SqlValue::Bool(Some(v)) => v.to_string(),
        SqlValue::Int(Some(v)) => v.to_string(),
        SqlValue::Text(Some(v)) => format!("'{}'", v.replace('\'', "''")),
        SqlValue::Uuid(Some(v)) => format!("'{v}'"),
        SqlValue::Time(Some(v)) => format!("'{}'", v.to_rfc3339()),
        SqlValue::Date(Some(v)) => format!("'{v}'"),
        SqlValue::Json(Some(v)) => format!("'{v}'"),
        SqlValue::Ints(v) => list(v),
        SqlValue::Texts(v) => list(v),
        SqlValue::Uuids(v) => list(v),
        SqlValue::Dates(v) => list(v),
        SqlValue::Times(v) => list(&v.iter().map(|time| time.to_rfc3339()).collect::<Vec<_>>()),
        SqlValue::Bool(None) | SqlValue::Int(None) | SqlValue::Text(None) | SqlValue::Uuid(None) => "NULL".into(),
        other => panic!("{other:?} is asked by nobody"),
    }
}

/// Indexes that enforce no constraint, so that only reads justify them.
fn kept_for_reads(database: &Database) -> Vec<String> {
    let indexes = database.rows::<1>(
        "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE c.relnamespace = 'public'::regnamespace AND NOT i.indisunique AND NOT i.indisexclusion ORDER BY 1",
    );
    indexes.into_iter().map(|[name]| name).collect()
}

/// Prints queries that use fewer indexes under row-level security, or scan a whole table there.
fn print_lost(questions: &[Question], before: &[Explained], conn: &mut PgConnection) {
    let (mut lost, mut whole, mut dearer) = (0, 0, 0);
    for (question, before) in questions.iter().zip(before) {
        let secured = explain(conn, question, false);
        let own: BTreeSet<&String> = before.indexes.difference(&secured.indexes).collect();
        lost += usize::from(!own.is_empty());
        whole += usize::from(!secured.scanned.is_subset(&before.scanned));
        dearer += usize::from(secured.cost > before.cost * 2.0);
        if !own.is_empty() || secured.cost > before.cost * 2.0 {
            let costs = format!("{:9.0} → {:9.0}", before.cost, secured.cost);
            println!("{costs}  {} |{} →{} {:?}", question.name, before.shape, secured.shape, secured.scanned);
        }
    }
    println!(
        "of {} queries, {lost} use other indexes under row-level security, {dearer} cost twice as much or more",
        before.len()
    );
    println!("and {whole} read a whole table that they did not read without");
}

/// Prints the most expensive queries, and how often each index is used.
fn print(explained: &[Explained]) {
    let mut by_cost: Vec<&Explained> = explained.iter().filter(|plan| !plan.name.contains("&count=")).collect();
    by_cost.sort_by(|a, b| b.cost.total_cmp(&a.cost));
    println!("dearest to the planner, counts apart:");
    for plan in by_cost.iter().take(60) {
        println!("{:10.0}  {} |{}", plan.cost, plan.name, plan.shape);
    }
    println!("most pages read:");
    let mut by_pages: Vec<&Explained> = explained.iter().collect();
    by_pages.sort_by_key(|plan| std::cmp::Reverse(plan.ran.map(|(_, pages)| pages)));
    for plan in by_pages.iter().take(60) {
        let (time, pages) = plan.ran.unwrap_or_default();
        println!("{time:9.2} ms {pages:8} pages  cost {:10.0}  {} |{}", plan.cost, plan.name, plan.shape);
    }
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for index in explained.iter().flat_map(|plan| &plan.indexes) {
        *uses.entry(index).or_default() += 1;
    }
    uses.iter().for_each(|(index, count)| println!("{count:6} {index}"));
}
