//! Tests of the audit log: every change of a row is recorded, whichever way it was made, and nothing else is.

use std::collections::BTreeMap;

use rapport::app::registry::RESOURCES;
use rapport::auth::Role;
use serde_json::{Value, json};

use crate::sign_in::{admit, client, sign_in};
use crate::support::{Client, Database, Samples, Service};

fn entries(api: &Client, path: &str) -> Vec<Value> {
    api.get(path).expect(200).rows().to_vec()
}

fn told(entries: &[Value]) -> Vec<(&str, &str)> {
    entries
        .iter()
        .map(|e| (e["action"].as_str().expect("an action"), e["actor_kind"].as_str().expect("a kind")))
        .collect()
}

#[test]
fn row_history_lists_action_actor_and_old_and_new_values() {
    let service = Service::start();
    admit(&service, "acme", "amina@example.com", "manager");
    let session = sign_in(&service, "amina@example.com").expect(201).json;
    let amina = client(&service, &session);
    let lead = service.client.create("leads", json!({ "title": "Desks", "score": 10 }));
    let id = lead["id"].as_str().expect("an id");
    let one = format!("leads/{id}");
    let request = amina.request("PATCH", &one).header("X-Request-Id", "quote-me");
    amina.send(request.json(&json!({ "status": "won", "score": 10, "metadata": { "plan": "gold" } }))).expect(200);
    amina.send(amina.request("PATCH", &one).json(&json!({}))).expect(200);
    service.database.run(&format!("UPDATE leads SET score = 99, title = 'Desks' WHERE id = '{id}'"));
    service.client.delete(&one).expect(204);
    service.client.post(&format!("{one}/restoration"), json!({})).expect(200);

    let history = entries(&service.client_as(Role::Viewer), &format!("{one}/history?sort=created_at"));
    let expected = [
        ("created", "api_key"),
        ("updated", "user"),
        ("updated", "system"),
        ("deleted", "api_key"),
        ("restored", "api_key"),
    ];
    assert_eq!(told(&history), expected);
    assert_eq!(history[0]["changes"], json!({}), "the row itself tells");
    let won = &history[1];
    assert_eq!(won["actor_id"], session["user"]["id"]);
    assert_eq!(won["request_id"], "quote-me");
    let changes = won["changes"].as_object().expect("changes");
    assert_eq!(changes.keys().collect::<Vec<_>>(), ["status", "metadata", "closed_at", "furthest_stage"]);
    assert_eq!(changes["status"], json!({ "old": "new", "new": "won" }));
    assert_eq!(changes["metadata"], json!({ "old": {}, "new": { "plan": "gold" } }));
    assert_eq!(changes["closed_at"]["old"], Value::Null);
    assert_eq!(history[2]["changes"], json!({ "score": { "old": 10, "new": 99 } }), "and who was that? nobody of ours");

    // It is paged and filtered like any list.
    let page = service.client.get(&format!("{one}/history?limit=2&action=updated,deleted&count=true")).expect(200).json;
    assert_eq!(
        (told(page["data"].as_array().expect("rows")), &page["page"]["total"]),
        (vec![("deleted", "api_key"), ("updated", "system")], &json!(3))
    );
    let next = page["page"]["next"].as_str().expect("another page");
    let rest = entries(&service.client, &format!("{one}/history?limit=2&action=updated,deleted&cursor={next}"));
    assert_eq!(told(&rest), [("updated", "user")]);
    let other = service.client.make("leads", json!({ "title": "Other" }));
    for smuggled in ["row_id", "row%5Fid"] {
        service.client.get(&format!("{one}/history?{smuggled}={other}")).expect(400);
    }
    service.client.get(&format!("leads/{}/history", uuid::Uuid::now_v7())).expect(404);
    service.client.get("leads/nonsense/history").expect(404);
    let (_, neighbour) = service.neighbour();
    neighbour.get(&format!("{one}/history")).expect(404);
}

#[test]
fn audit_log_of_identity_changes_admin_only_without_secrets() {
    let service = Service::start();
    admit(&service, "acme", "amina@example.com", "admin");
    let session = sign_in(&service, "amina@example.com").expect(201).json;
    let amina = client(&service, &session);
    let key = amina.create("api-keys", json!({ "name": "Old", "role": "viewer" }));
    let id = key["id"].as_str().expect("an id");
    let fresh = amina.post(&format!("api-keys/{id}/rotation"), json!({})).expect(200).json;
    amina.delete(&format!("api-keys/{id}")).expect(204);
    amina
        .send(amina.request("PATCH", &format!("businesses/{}", service.business)).json(&json!({ "name": "Acme & Co" })))
        .expect(200);
    let person = amina.create("users", json!({ "email": "bo@example.com", "name": "Bo", "role": "viewer" }));
    amina
        .send(
            amina
                .request("PATCH", &format!("users/{}", person["id"].as_str().expect("an id")))
                .json(&json!({ "role": "agent" })),
        )
        .expect(200);
    amina.delete("auth/sessions/current").expect(204);

    let log = entries(&service.client, "audit-log?limit=500");
    let has = |resource: &str, action: &str| {
        log.iter().filter(|e| e["resource"] == resource && e["action"] == action).count()
    };
    assert_eq!((has("sessions", "created"), has("sessions", "deleted")), (1, 1));
    assert_eq!((has("api-keys", "updated"), has("api-keys", "deleted")), (1, 1));
    assert_eq!((has("businesses", "updated"), has("users", "created"), has("memberships", "updated")), (1, 1, 1));
    let by_amina =
        entries(&service.client, &format!("audit-log?actor_id={}", session["user"]["id"].as_str().expect("an id")));
    assert!(by_amina.len() >= 7, "{by_amina:?}");
    let text = serde_json::to_string(&log).expect("JSON");
    for secret in [&key["key"], &fresh["key"], &session["access_token"], &session["refresh_token"]] {
        assert!(!text.contains(secret.as_str().expect("a secret")));
    }
    assert!(!text.contains("hash"), "{text}");
    // Entries about API keys and users are visible to admins only; nobody can change the audit log.
    for role in [Role::Viewer, Role::Agent, Role::Manager] {
        assert_eq!(service.client_as(role).get("audit-log").expect(403).code(), "forbidden");
    }
    let entry = format!("audit-log/{}", log[0]["id"].as_str().expect("an id"));
    service.client.get(&entry).expect(200);
    for method in ["PATCH", "DELETE", "POST"] {
        service.client.send(service.client.request(method, &entry).json(&json!({}))).expect(405);
    }
    let (_, neighbour) = service.neighbour();
    neighbour.get(&entry).expect(404);
    assert!(entries(&neighbour, "audit-log").iter().all(|e| e["resource"] != "businesses" || e["action"] == "created"));
}

#[test]
fn audit_log_skips_rolled_back_writes_tenant_role_read_only() {
    let service = Service::start();
    let lead = service.client.create("leads", json!({ "title": "Desks" }));
    let id = lead["id"].as_str().expect("an id");
    let before = service.database.ask("SELECT count(*)::text FROM audit_entries");
    // Refused after the row was locked, and refused by a constraint.
    service
        .client
        .send(
            service
                .client
                .request("PATCH", &format!("leads/{id}"))
                .header("If-Match", "\"7.0000000000000000\"")
                .json(&json!({ "score": 5 })),
        )
        .expect(412);
    service
        .client
        .send(
            service
                .client
                .request("PATCH", &format!("leads/{id}"))
                .json(&json!({ "assignee_id": uuid::Uuid::now_v7() })),
        )
        .expect(422);
    assert_eq!(service.database.ask("SELECT count(*)::text FROM audit_entries"), before);

    let within = format!("BEGIN; SET LOCAL ROLE rapport_tenant; SET LOCAL rapport.business = '{}';", service.business);
    for (statement, allowed) in [
        ("PERFORM count(*) FROM audit_entries", true),
        ("UPDATE change_log SET action = 'created'", false),
        ("DELETE FROM change_log", false),
        (
            "INSERT INTO change_log (business_id, xid, changed) SELECT business_id, pg_current_xact_id(), 'leads' FROM leads",
            false,
        ),
        ("UPDATE audit_log SET action = 'created'", false),
        ("DELETE FROM audit_log", false),
        (
            "INSERT INTO audit_log (business_id, resource, row_id, action, actor_kind) SELECT business_id, 'leads', id, 'created', 'user' FROM leads",
            false,
        ),
        ("TRUNCATE audit_log", false),
    ] {
        let sql = format!(
            "{within} DO $$ BEGIN {statement}; RAISE EXCEPTION 'done';
             EXCEPTION WHEN insufficient_privilege THEN RAISE EXCEPTION 'refused'; END $$"
        );
        let outcome = service.database.fails(&sql);
        assert!(outcome.contains(if allowed { "done" } else { "refused" }), "{statement}: {outcome}");
    }
}

#[test]
fn delete_user_with_3000_leads_audits_each_unassignment() {
    let service = Service::with(&["--db-connections", "1"]);
    let api = &service.client;
    let person = api.create("users", json!({ "email": "bo@example.com", "name": "Bo", "role": "agent" }));
    let bo = person["id"].as_str().expect("an id");
    service.database.run(&format!(
        "INSERT INTO leads (business_id, id, title, assignee_id)
         SELECT '{}', rapport_uuid_v7(), 'Lead ' || i, '{bo}' FROM generate_series(1, 3000) i",
        service.business
    ));
    // On a connection that has already changed one row: its cached plan must also serve thousands of rows.
    let one = api.get("leads?limit=1").expect(200).rows()[0]["id"].as_str().expect("an id").to_owned();
    api.patch(&format!("leads/{one}"), json!({ "score": 50 })).expect(200);
    // The database itself clears a removed user's references, with one statement.
    api.delete(&format!("users/{bo}")).expect(204);
    let page = api.get("audit-log?resource=leads&action=updated&count=exact&limit=1").expect(200);
    assert_eq!(page.json["page"]["total"], 3001);
    assert_eq!(page.rows()[0]["changes"], json!({ "assignee_id": { "old": bo, "new": null } }));
    assert_eq!(page.rows()[0]["actor_kind"], "api_key");
}

/// How the migrations call `rapport_log_changes` for each table, the last time.
fn calls() -> BTreeMap<String, String> {
    let mut folders: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    folders.sort();
    let texts = folders.iter().map(|folder| std::fs::read_to_string(folder.join("up.sql")).expect("a migration"));
    let lines: Vec<String> = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let calls = lines.iter().filter(|line| line.starts_with("SELECT rapport_log_changes('"));
    calls.map(|call| (call.split('\'').nth(1).expect("a table").to_owned(), call.clone())).collect()
}

#[test]
fn log_functions_name_all_columns_of_their_tables() {
    let database = Database::create();
    let functions = "SELECT proname::text, prosrc FROM pg_proc WHERE proname LIKE 'rapport\\_log\\_%' ORDER BY 1";
    let before = database.rows::<2>(functions);
    let tables = database.rows::<1>(
        "SELECT c.relname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE t.tgname = 'log_change' ORDER BY 1",
    );
    let calls = calls();
    assert!(calls.len() > 20 && calls.keys().eq(tables.iter().map(|[table]| table)), "{calls:?} {tables:?}");
    for (table, call) in calls {
        database.run(&call);
        assert_eq!(
            database.rows::<2>(functions),
            before,
            "the columns of {table} changed: the migration that changes them must call {call}"
        );
    }
}

/// What the entries of an UPDATE have by definition: the members of the rows' JSON that differ.
const REFERENCE: &str = "
    CREATE TABLE reference (resource text, row_id uuid, action text, changes jsonb);
    CREATE FUNCTION refer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO reference
        SELECT replace(TG_TABLE_NAME, '_', '-'), (is_now ->> 'id')::uuid,
            CASE WHEN was ->> 'deleted_at' IS NOT DISTINCT FROM is_now ->> 'deleted_at' THEN 'updated'
                 WHEN is_now ->> 'deleted_at' IS NULL THEN 'restored' ELSE 'deleted' END, coalesce(changed, '{}')
        FROM (SELECT to_jsonb(a) AS is_now, to_jsonb(b) AS was FROM after a JOIN before b ON a.id = b.id) r, LATERAL (
            SELECT jsonb_object_agg(key, jsonb_build_object('old', was -> key, 'new', value)) AS changed FROM jsonb_each(is_now)
            WHERE value IS DISTINCT FROM was -> key AND key <> ALL (rapport_audit_omitted())) c
        WHERE changed IS NOT NULL OR was ->> 'deleted_at' IS DISTINCT FROM is_now ->> 'deleted_at';
        RETURN NULL;
    END $$;";

/// Sets each column of `table` to values that JSON, text and comparisons treat differently, in an UPDATE each; an UPDATE that
/// a constraint rejects changes nothing.
const STRANGE_VALUES: &str = r#"
    DO $do$
    DECLARE col record; value text; BEGIN
        FOR col IN SELECT a.attname, format_type(a.atttypid, NULL) AS type FROM pg_attribute a WHERE a.attrelid = '{table}'::regclass
                AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname NOT IN ('id', 'business_id') LOOP
            FOREACH value IN ARRAY CASE col.type
                WHEN 'text' THEN ARRAY['NULL', $v$ E'q"\\ '' é{} , null \t\n\x01' $v$, $v$ '' $v$, $v$ 'viewer' $v$]
                WHEN 'jsonb' THEN ARRAY['NULL', $v$ '{"a\"b": [null, 1.00, {"x": null}], "é": "\u0001"}' $v$, $v$ 'null' $v$, $v$ '{}' $v$]
                WHEN 'text[]' THEN ARRAY['NULL', $v$ ARRAY['a,b', '"', NULL, '{}'] $v$, $v$ '{}' $v$]
                WHEN 'timestamp with time zone' THEN ARRAY['NULL', 'now()', $v$ '2020-01-01 00:00:00.123456+05:30' $v$]
                WHEN 'numeric' THEN ARRAY['NULL', '1.10', '1.100000', '0']
                WHEN 'boolean' THEN ARRAY['true', 'false']
                WHEN 'date' THEN ARRAY['NULL', $v$ '2020-02-29' $v$]
                WHEN 'bytea' THEN ARRAY[$v$ '\x00ff' $v$]
                WHEN 'uuid' THEN ARRAY['NULL', 'id']
                ELSE ARRAY['NULL', '0', '7', '9007199254740993'] END LOOP
                BEGIN
                    EXECUTE format('UPDATE %I SET %I = %s', '{table}', col.attname, value);
                EXCEPTION WHEN integrity_constraint_violation OR not_null_violation OR check_violation OR foreign_key_violation
                    OR numeric_value_out_of_range OR raise_exception THEN NULL;
                END;
            END LOOP;
        END LOOP;
    END $do$"#;

#[test]
fn audit_entries_of_updates_equal_differences_of_row_json() {
    let service = Service::start();
    let mut samples = Samples::new(&service.client);
    for resource in RESOURCES {
        samples.row(resource);
    }
    let database = &service.database;
    database.run(REFERENCE);
    // All tables with entries about updates.
    let tables: Vec<String> = calls()
        .into_keys()
        .filter(|table| {
            let unlogged = [
                "sessions",
                "attachments",
                "channel_secrets",
                "inbound_updates",
                "message_attempts",
                "worker_tasks",
                "ai_runs",
                "read_positions",
                "conversation_labels",
                "schedule_hours",
            ];
            !unlogged.contains(&table.as_str())
        })
        .collect();
    for table in &tables {
        database.run(&format!(
            "CREATE TRIGGER refer AFTER UPDATE ON {table} REFERENCING OLD TABLE AS before NEW TABLE AS after
             FOR EACH STATEMENT EXECUTE FUNCTION refer()"
        ));
    }
    database.run("CREATE TABLE earlier AS SELECT id FROM audit_entries");
    for table in &tables {
        // The entry of a user belongs to the business in which the change was made.
        let inside = format!("SET rapport.business = '{}';", service.business);
        database.run(&(inside + &STRANGE_VALUES.replace("{table}", table)));
    }
    let compared = database.rows::<3>(
        "SELECT resource, count(*)::text, (count(*) FILTER (WHERE expected IS DISTINCT FROM written))::text FROM (
             SELECT resource, row_id, action, changes, count(*) FILTER (WHERE is_reference) AS expected,
                 count(*) FILTER (WHERE NOT is_reference) AS written
             FROM (SELECT true AS is_reference, resource, row_id, action, changes FROM reference
                 UNION ALL SELECT false, resource, row_id, action, changes FROM audit_entries
                 WHERE id NOT IN (SELECT id FROM earlier) AND action IN ('updated', 'deleted', 'restored')) both_logs
             GROUP BY resource, row_id, action, changes) entries
         GROUP BY resource ORDER BY resource",
    );
    assert_eq!(compared.len(), tables.len(), "tables without a change: {compared:?}");
    assert!(compared.iter().all(|[_, _, differing]| differing == "0"), "{compared:?}");
}
