//! Where rows are written: resources through batches, and every other table of a business in one place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rapport::app::registry::RESOURCES;

use crate::support::Database;

/// Tables of a business with an INSERT of their own, and the files that send it. Rows of resources that clients create are
/// written by batches, of one row or of many; these have parts that no client sets, or no client at all.
const OWN_INSERTS: [(&str, &[&str]); 35] = [
    // What channels deliver, and only they.
    ("channel_secrets", &["channels/secrets/store.rs"]),
    ("contact_identities", &["channels/inbound/peers.rs"]),
    ("duplicate_proposals", &["channels/inbound/proposals.rs"]),
    ("inbound_updates", &["channels/inbound/parked.rs"]),
    ("message_reactions", &["channels/inbound/changes.rs"]),
    ("attachments", &["channels/media/store.rs"]),
    ("attachment_parts", &["channels/media/store.rs"]),
    // What is sent, and how fast.
    ("templates", &["channels/templates/store.rs"]),
    ("template_syncs", &["channels/templates/sync.rs"]),
    ("read_positions", &["channels/inbox/reading.rs"]),
    ("message_attempts", &["channels/sending/attempts.rs"]),
    ("send_limits", &["channels/sending/send_limits.rs"]),
    ("read_receipts", &["channels/receipts/read_receipts.rs"]),
    // A message makes a task or puts off the open one, in one statement; runs of models come with the end of a task.
    ("worker_tasks", &["channels/worker_tasks/reply_tasks.rs"]),
    ("ai_runs", &["channels/worker_tasks/ai_runs.rs"]),
    // Replaced as a whole, with the member of staff.
    ("schedule_hours", &["scheduling/schedules/store.rs"]),
    // Resources whose rows hold a secret, or whose row is another one's doing.
    ("api_keys", &["identity/api_keys/store.rs"]),
    ("invitations", &["identity/send_invitation.rs"]),
    ("memberships", &["identity/add_member.rs"]),
    ("merges", &["crm/merges/merge.rs"]),
    ("imports", &["integrations/import/upload.rs"]),
    ("jobs", &["background/store.rs"]),
    // One is for an event that is sent again, the other for a test.
    ("webhook_deliveries", &["integrations/webhooks/deliveries.rs"]),
    // The machinery of a feature.
    ("job_runs", &["background/store.rs"]),
    ("idempotency_keys", &["http/idempotency.rs"]),
    ("cache_warmup_queries", &["resource/cache_refresh.rs"]),
    ("sessions", &["identity/sessions.rs"]),
    ("refresh_tokens", &["identity/sessions.rs"]),
    ("import_chunks", &["integrations/import/file_store.rs"]),
    // The preview of a row is kept beside the results of rows.
    ("import_row_results", &["integrations/import/preview.rs", "integrations/import/row_results.rs"]),
    ("businesses", &["app/cli/api_key.rs"]),
    ("agent_metrics", &["analytics/agent_snapshots.rs"]),
    ("stat_quarters", &["analytics/fold_sql.rs"]),
    ("stat_days", &["analytics/fold_days.rs", "analytics/fold_sql.rs"]),
    ("stat_zones", &["analytics/fold_days.rs"]),
];

#[test]
fn rows_of_resources_are_inserted_by_batches_only() {
    let database = Database::create();
    let tenant_tables: BTreeSet<String> = database
        .rows::<1>(
            "SELECT DISTINCT table_name::text FROM information_schema.columns
             WHERE table_schema = 'public' AND column_name = 'business_id'",
        )
        .into_iter()
        .map(|[table]| table)
        .chain(["businesses".to_owned()])
        .collect();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut generic = BTreeSet::new();
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    visit(root, &mut |path| {
        let text = std::fs::read_to_string(path).expect("a source file");
        let file = path.strip_prefix(root).expect("below src").to_string_lossy().into_owned();
        for after in text.split("INSERT INTO ").skip(1) {
            let table: String = after.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            match table.as_str() {
                "" => drop(generic.insert(file.clone())),
                _ if tenant_tables.contains(&table) => drop(found.entry(table).or_default().insert(file.clone())),
                _ => {}
            }
        }
    });
    assert_eq!(generic, BTreeSet::from(["resource/batch/sql.rs".to_owned()]), "an INSERT whose table is chosen");
    let expected: BTreeMap<String, BTreeSet<String>> = OWN_INSERTS
        .iter()
        .map(|(table, files)| ((*table).to_owned(), files.iter().map(|file| (*file).to_owned()).collect()))
        .collect();
    assert_eq!(found, expected, "INSERTs beside the write path");
    let own = |table: &str| OWN_INSERTS.iter().any(|(known, _)| *known == table);
    let batched = RESOURCES.iter().filter(|resource| resource.operations.batch && own(resource.table));
    assert_eq!(batched.map(|resource| resource.plural).collect::<Vec<_>>(), [""; 0], "resources with two write paths");
}

/// Calls `each` with every Rust file below `folder`.
fn visit(folder: &Path, each: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            visit(&path, each);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            each(&path);
        }
    }
}
