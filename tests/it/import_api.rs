//! Tests of imports over the API: upload, dry run, execution exactly once despite kills, reports, and revert.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rapport::auth::Role;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Program, Service, kills, until};

/// A service that runs jobs itself.
pub fn service() -> Service {
    Service::with(&["--background-tasks", "on"])
}

pub fn csv(api: &Client, query: &str, file: impl Into<String>) -> Answer {
    api.upload(&format!("imports?resource=contacts&{query}"), "text/csv", file.into())
}

pub fn id(answer: &Answer) -> String {
    answer.json["id"].as_str().expect("an id").to_owned()
}

/// The import, once no job works on it.
pub fn rested(api: &Client, id: &str) -> Value {
    let began = Instant::now();
    loop {
        let import = api.get(&format!("imports/{id}")).expect(200).json;
        if !matches!(import["state"].as_str(), Some("trying" | "importing" | "reverting")) {
            return import;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{import}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn counts(import: &Value) -> [i64; 6] {
    ["read", "created", "changed", "unchanged", "failed", "companies"]
        .map(|name| import[name].as_i64().expect("a count"))
}

/// All rows of contacts and companies, without their update times.
fn content(service: &Service) -> String {
    let of = |table: &str| {
        format!(
            "SELECT to_jsonb(t) - 'version' - 'updated_at' - 'deleted_at' AS row FROM {table} t WHERE deleted_at IS NULL"
        )
    };
    service.database.ask(&format!(
        "SELECT count(*) || ' ' || coalesce(md5(string_agg(row::text, ',' ORDER BY row::text)), '') FROM ({} UNION ALL {}) rows",
        of("contacts"),
        of("companies")
    ))
}

#[test]
fn upload_csv_imports_rows_reports_errors_repeat_unchanged() {
    let service = service();
    let api = &service.client;
    let file = include_str!("../data/contacts.csv");
    let answer = csv(api, "file_name=contacts.csv", file).expect(202);
    assert_eq!(answer.header("location"), format!("/api/v1/imports/{}", id(&answer)));
    let import = rested(api, &id(&answer));
    assert_eq!(import["state"], "imported", "{import}");
    assert_eq!(counts(&import)[..5], [6, 3, 0, 0, 3]);
    assert_eq!((&import["file_name"], &import["format"]), (&json!("contacts.csv"), &json!("csv")));
    let job = api.get(import["job"].as_str().expect("a job")).expect(200).json;
    assert_eq!((&job["state"], &job["kind"], &job["done"]), (&json!("succeeded"), &json!("import"), &json!(6)));
    let contacts = api.get("contacts?include=company").expect(200);
    let anna = contacts.rows().iter().find(|c| c["first_name"] == "Anna").expect("Anna");
    assert_eq!((&anna["email"], &anna["external_id"]), (&json!("anna@work.example"), &json!("a-1")));
    assert_eq!(anna["metadata"]["email_home"], "anna@home.example");

    let errors = api.get(&format!("imports/{}/errors", id(&answer))).expect(200);
    assert!(errors.header("content-type").starts_with("text/csv"));
    for expected in ["row,", "/email", "not an address", "ragged", "/first_name"] {
        assert!(errors.text.contains(expected), "{expected} is missing in {}", errors.text);
    }
    assert_eq!(errors.text.lines().filter(|line| line.starts_with(['4', '5', '6'])).count(), 3, "{}", errors.text);

    let before = content(&service);
    let again = rested(api, &id(&csv(api, "", file).expect(202)));
    assert_eq!(counts(&again), [6, 0, 0, 3, 3, 0]);
    assert_eq!(content(&service), before);
}

#[test]
fn import_dry_run_changes_nothing_and_previews_result() {
    let service = service();
    let api = &service.client;
    api.create("contacts", json!({ "first_name": "Bo", "email": "bo@example.com", "title": "Clerk" }));
    let file = "first_name,email,title,company\nAnna,anna@example.com,,Brekke\nBo,BO@example.com,Boss,Brekke\nBo,nonsense,,\nAnna,anna@example.com,Chief,\n";
    let before = content(&service);
    let answer = csv(api, "dry_run=true", file).expect(202);
    let tried = rested(api, &id(&answer));
    assert_eq!(tried["state"], "tried", "{tried}");
    assert_eq!(content(&service), before, "a trial changes nothing");
    assert_eq!(counts(&tried), [4, 1, 1, 0, 2, 1]);
    let preview = api.get(&format!("imports/{}/preview", id(&answer))).expect(200).json;
    let changes = &preview["changes"];
    assert_eq!((&changes["2"]["before"], &changes["2"]["after"]["first_name"]), (&Value::Null, &json!("Anna")));
    let title = |when: &str| changes["3"][when]["title"].clone();
    assert_eq!((title("before"), title("after")), (json!("Clerk"), json!("Boss")));
    let errors = api.get(&format!("imports/{}/errors", id(&answer))).expect(200);
    assert!(errors.text.contains("nonsense") && errors.text.contains("Row 2 of the file"), "{}", errors.text);

    // The real import of the same file: the counts equal those of the dry run.
    let started = api.post(&format!("imports/{}/execution", id(&answer)), json!({})).expect(202);
    assert!(started.header("location").starts_with("/api/v1/ops/jobs/"));
    let done = rested(api, &id(&answer));
    assert_eq!((&done["state"], counts(&done)), (&json!("imported"), counts(&tried)));
    assert_ne!(content(&service), before);
    let refused = api.post(&format!("imports/{}/execution", id(&answer)), json!({})).expect(409);
    assert_eq!(refused.code(), "already_imported");
    api.post(&format!("imports/{}/trial", id(&answer)), json!({})).expect(409);
}

#[test]
fn import_mapping_guessed_and_editable_before_execution() {
    let service = service();
    let api = &service.client;
    let answer = csv(api, "start=false", "Rufname;Mail;Fax\nAnna;anna@example.com;12\n").expect(201);
    let import = answer.json.clone();
    assert_eq!((&import["state"], &import["job"]), (&json!("ready"), &Value::Null));
    assert_eq!(import["targets"], json!({ "Rufname": "metadata.Rufname", "Mail": "email", "Fax": "metadata.Fax" }));
    assert_eq!(import["match_by"], json!(["id", "external_id", "email", "name", "phone"]));
    let path = format!("imports/{}", id(&answer));
    let wrong = api.patch(&path, json!({ "mapping": { "Rufname": "firstname", "Nope": null } })).expect(422);
    assert!(
        wrong.text.contains("Did you mean `first_name`") && wrong.text.contains("no column `Nope`"),
        "{}",
        wrong.text
    );
    api.patch(&path, json!({ "match_by": ["emial"] })).expect(422);
    let body =
        json!({ "mapping": { "Rufname": "first_name", "Fax": null }, "match_by": ["email"], "on_match": "skip" });
    let changed = api.patch(&path, body).expect(200).json;
    assert_eq!(changed["targets"], json!({ "Rufname": "first_name", "Mail": "email", "Fax": null }));
    api.create("contacts", json!({ "email": "anna@example.com", "first_name": "Ann" }));
    api.post(&format!("{path}/execution"), json!({})).expect(202);
    assert_eq!(counts(&rested(api, &id(&answer))), [1, 0, 0, 1, 0, 0], "skipped");
    assert_eq!(api.get("contacts?email=anna@example.com").expect(200).rows()[0]["first_name"], "Ann");
    assert_eq!(api.patch(&path, json!({ "on_match": "update" })).expect(409).code(), "already_imported");

    let told =
        csv(api, "on_match=refuse&match_by=email", "email,first_name\nanna@example.com,Anna\nnew@example.com,New\n")
            .expect(202);
    assert_eq!(counts(&rested(api, &id(&told))), [2, 1, 0, 0, 1, 0]);
}

#[test]
fn import_ndjson_uses_api_fields_and_rules() {
    let service = service();
    let api = &service.client;
    let company = api.make("companies", json!({ "name": "Brekke" }));
    let mut file = String::new();
    for number in 0..1200 {
        writeln!(
            file,
            "{}",
            json!({ "title": format!("Roof {number}"), "company_id": company, "status": "won", "tags": ["a", "b"] })
        )
        .expect("text");
    }
    file.push_str("\n{\"title\": 3, \"nonsense\": true}\n[]\n{\"title\":\"Lost\",\"company_id\":\"0193abcd-0000-7000-8000-000000000000\"}\nnot json");
    let answer = api.upload("imports?resource=leads", "application/x-ndjson", file).expect(202);
    let import = rested(api, &id(&answer));
    assert_eq!((&import["state"], counts(&import)), (&json!("imported"), [1204, 1200, 0, 0, 4, 0]), "{import}");
    let leads = api.get("leads?limit=2&include=company").expect(200);
    assert_eq!((&leads.rows()[0]["company"]["name"], &leads.rows()[0]["tags"]), (&json!("Brekke"), &json!(["a", "b"])));
    assert!(leads.rows()[0]["closed_at"].is_string(), "rules of the resource hold");
    let errors = api.get(&format!("imports/{}/errors", id(&answer))).expect(200).text;
    for expected in
        ["1202,", "/title", "unknown_field", "not_an_object", "no_such_row", "1205,not json", "invalid_json"]
    {
        assert!(errors.contains(expected), "{expected} is missing in {errors}");
    }
}

#[test]
fn upload_invalid_file_refused_with_reason() {
    let service = Service::with(&["--background-tasks", "on", "--import-bytes", "2000000"]);
    let api = &service.client;
    let faults = |answer: Answer, status: u16| answer.expect(status).text;
    assert!(faults(api.upload("imports?resource=contacts", "application/pdf", "%PDF"), 415).contains("text/csv"));
    assert!(
        faults(api.upload("imports?resource=kontakts&mode=x", "text/csv", "email\na@example.com\n"), 400)
            .contains("resource")
    );
    assert!(faults(api.upload("imports", "text/csv", "email\na@example.com\n"), 400).contains("/query/resource"));
    assert!(faults(csv(api, "", ""), 422).contains("empty"));
    assert!(faults(csv(api, "", "x,y\n1,2\n"), 422).contains("no column sounds like"));
    assert!(faults(csv(api, "mapping={\"a\":1}", "email\n"), 422).contains("no column `a`"));
    assert!(faults(csv(api, "", "x".repeat(2_000_001)), 413).contains("RAPPORT_IMPORT_BYTES"));
    assert!(faults(csv(api, "", "e".repeat(70_000)), 422).contains("headers"));
    // Rows of an interrupted upload remain until they are purged; no import was created.
    assert!(api.get("imports").expect(200).rows().is_empty());
    // A row beyond the size limit: earlier rows are kept, and the error says where it is.
    let file = format!("first_name,email\nAnna,anna@example.com\nBo,{}", "more of it".repeat(110_000));
    let failed = rested(api, &id(&csv(api, "", file).expect(202)));
    let job = api.get(failed["job"].as_str().expect("a job")).expect(200).json;
    assert_eq!(
        (&failed["state"], &job["state"], failed["created"].as_i64()),
        (&json!("failed"), &json!("failed"), Some(1))
    );
    assert!(job["error"]["detail"].as_str().is_some_and(|detail| detail.contains("after row 2")), "{job}");
}

#[test]
fn import_without_permission_403_other_tenants_404() {
    let service = service();
    let (_, neighbour) = service.neighbour();
    let file = "email\nanna@example.com\n";
    csv(&service.client_as(Role::Viewer), "", file).expect(403);
    let agent = service.client_as(Role::Agent);
    let import = id(&csv(&agent, "", file).expect(202));
    rested(&agent, &import);
    agent.post(&format!("imports/{import}/reversion"), json!({})).expect(403);
    for path in ["", "/errors", "/history"] {
        neighbour.get(&format!("imports/{import}{path}")).expect(404);
    }
    for path in ["trial", "execution", "reversion"] {
        neighbour.post(&format!("imports/{import}/{path}"), json!({})).expect(404);
    }
    // The audit log records the uploader as the actor.
    let made = service.client.get("audit-log?resource=contacts&action=created").expect(200);
    let import = service.client.get(&format!("imports/{import}")).expect(200).json;
    assert_eq!((made.rows().len(), &made.rows()[0]["actor_id"]), (1, &import["actor_id"]));
}

#[test]
fn revert_import_keeps_rows_changed_since() {
    let service = service();
    let api = &service.client;
    api.create(
        "contacts",
        json!({ "first_name": "Bo", "email": "bo@example.com", "title": "Clerk", "metadata": { "own": "kept" } }),
    );
    let touched = api.create("contacts", json!({ "first_name": "Cy", "email": "cy@example.com", "title": "Clerk" }));
    let before = content(&service);
    let mut file = String::from(
        "first_name,email,title,company,Fax\nBo,bo@example.com,Boss,Brekke,12\nCy,cy@example.com,Boss,,\n",
    );
    for number in 0..1200 {
        writeln!(file, "N{number},n{number}@example.com,,Firm {},", number % 7).expect("text");
    }
    let answer = csv(api, "", file).expect(202);
    let import = rested(api, &id(&answer));
    assert_eq!(counts(&import), [1202, 1200, 2, 0, 0, 8], "{import}");
    let since =
        api.get("contacts?email=n5@example.com").expect(200).rows()[0]["id"].as_str().expect("an id").to_owned();
    api.patch(&format!("contacts/{since}"), json!({ "title": "Mine now" })).expect(200);
    api.patch(&format!("contacts/{}", touched["id"].as_str().expect("an id")), json!({ "last_name": "Since" }))
        .expect(200);

    let path = format!("imports/{}/reversion", id(&answer));
    api.post(&path, json!({})).expect(202);
    assert_eq!(api.post(&path, json!({})).status, 409);
    let back = rested(api, &id(&answer));
    // Of 1202 contacts and 8 companies: two contacts were changed since, and one of these keeps its company.
    assert_eq!(
        (&back["state"], &back["reverted"], &back["kept"]),
        (&json!("reverted"), &json!(1207), &json!(3)),
        "{back}"
    );
    assert_eq!(api.post(&path, json!({})).expect(409).code(), "already_reverted");
    let left = api.get("contacts?include=company&sort=name").expect(200);
    assert_eq!(left.rows().len(), 3);
    let bo = left.rows().iter().find(|row| row["first_name"] == "Bo").expect("Bo");
    assert_eq!(
        (&bo["title"], &bo["company_id"], &bo["metadata"]),
        (&json!("Clerk"), &Value::Null, &json!({ "own": "kept" }))
    );
    let cy = left.rows().iter().find(|row| row["first_name"] == "Cy").expect("Cy");
    assert_eq!((&cy["title"], &cy["last_name"]), (&json!("Boss"), &json!("Since")), "the later change is kept");
    service.database.run(&format!("DELETE FROM contacts WHERE id = '{since}'"));
    api.delete(&format!("companies/{}", api.get("companies").expect(200).rows()[0]["id"].as_str().expect("an id")))
        .expect(204);
    api.patch(
        &format!("contacts/{}", touched["id"].as_str().expect("an id")),
        json!({ "title": "Clerk", "last_name": null }),
    )
    .expect(200);
    assert_eq!(content(&service), before, "to the letter");
}

#[test]
fn import_with_workers_killed_creates_each_row_once() {
    let service = Service::start();
    let api = &service.client;
    let rows = 2_000 + 1_000 * kills();
    let mut file = String::from("first_name,last_name,email,external_id,company\n");
    for number in 0..rows {
        writeln!(file, "First{number},Last,c{number}@example.com,x-{number},Firm {}", number % 100).expect("text");
        // Every 200th row is repeated: a duplicate starts a new step, so there are many steps.
        if number % 200 == 199 {
            let line = file.trim_end().rsplit('\n').next().unwrap_or_default().to_owned();
            writeln!(file, "{line}").expect("text");
        }
    }
    let twice = rows as i64 / 200;
    let answer = csv(api, "", file).expect(202);
    let settings = [
        ("DATABASE_URL", service.database.url.as_str()),
        ("RAPPORT_DB_CONNECTIONS", "2"),
        // The lease of a killed worker expires quickly.
        ("RAPPORT_JOB_LEASE_SECONDS", "1"),
    ];
    let there = || service.database.ask("SELECT count(*)::text FROM contacts");
    // Each step takes a while, so that the import is not over before the kill, however slow this process is.
    service.database.run(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END'; \
         CREATE TRIGGER slowly AFTER INSERT ON contacts FOR EACH STATEMENT EXECUTE FUNCTION slowly()",
    );
    let mut killed = 0;
    for round in 0..kills() {
        // Killed as soon as a step is done, or some milliseconds into the next.
        let (before, workers) = (there(), [(); 2].map(|()| Program::work(&settings)));
        until("a step is done", || there() != before || before == rows.to_string());
        std::thread::sleep(Duration::from_millis(7 * round as u64 % 50));
        let state = api.get(&format!("imports/{}", id(&answer))).expect(200).json["state"].clone();
        drop(workers);
        killed += usize::from(state == "importing");
        // Expires the lease of the killed process at once.
        service.database.run("UPDATE job_runs SET leased_until = now() WHERE leased_until IS NOT NULL");
    }
    service.database.run("DROP FUNCTION slowly CASCADE");
    let _worker = Program::work(&settings);
    let import = rested(api, &id(&answer));
    assert!(killed >= 2, "it was not killed in the middle");
    assert_eq!(counts(&import), [rows as i64 + twice, rows as i64, 0, twice, 0, 100], "{import}");
    let there = "SELECT count(*) || ' ' || count(DISTINCT external_id) || ' ' || max(version) FROM contacts";
    assert_eq!(service.database.ask(there), format!("{rows} {rows} 1"));
    assert_eq!(service.database.ask("SELECT count(*)::text FROM companies"), "100");
    let told = "SELECT count(*) || ' ' || count(DISTINCT row_id) FROM audit_entries WHERE resource = 'contacts'";
    assert_eq!(service.database.ask(told), format!("{rows} {rows}"));
    let created = service.database.ask("SELECT count(*)::text FROM import_row_results WHERE outcome = 'created'");
    assert_eq!(created, (rows + 100).to_string());
}

#[test]
fn cancelled_import_is_marked_and_can_be_reverted() {
    let service = Service::start();
    let api = &service.client;
    let mut file = String::from("first_name,external_id\n");
    (0..15_000).for_each(|number| writeln!(file, "N{number},x-{number}").expect("text"));
    let answer = csv(api, "", file).expect(202);
    let worker = Service::on(service.database.clone(), service.business, "", &["--background-tasks", "on"]);
    let began = Instant::now();
    while service.database.ask("SELECT count(*)::text FROM contacts") == "0" {
        assert!(began.elapsed() < Duration::from_secs(30), "it never begins");
    }
    let job = api.get(&format!("imports/{}", id(&answer))).expect(200).json["job"].as_str().expect("a job").to_owned();
    api.post(&format!("{job}/cancellation"), json!({})).expect(200);
    let import = rested(api, &id(&answer));
    assert_eq!(import["state"], "cancelled");
    api.post(&format!("imports/{}/reversion", id(&answer)), json!({})).expect(202);
    let back = rested(api, &id(&answer));
    assert_eq!((&back["state"], &back["kept"]), (&json!("reverted"), &json!(0)));
    assert_eq!(service.database.ask("SELECT count(*)::text FROM contacts WHERE deleted_at IS NULL"), "0");
    drop(worker);
}

#[test]
fn import_field_absent_in_one_row_gets_its_default() {
    let service = Service::with(&["--background-tasks", "on"]);
    let file = "{\"title\":\"Old\",\"entered_at\":\"2020-01-02T03:04:05Z\",\"score\":7}\n{\"title\":\"New\"}\n";
    let answer = service.client.upload("imports?resource=leads", "application/x-ndjson", file.to_owned()).expect(202);
    let path = format!("imports/{}", answer.json["id"].as_str().expect("an id"));
    let began = Instant::now();
    while service.client.get(&path).expect(200).json["state"] != "imported" {
        assert!(began.elapsed() < Duration::from_secs(20), "it is never imported");
        std::thread::sleep(Duration::from_millis(20));
    }
    let leads = service.client.get("leads").expect(200);
    let of = |title: &str| leads.rows().iter().find(|lead| lead["title"] == title).expect("a lead").clone();
    assert_eq!((&of("Old")["entered_at"], &of("Old")["score"]), (&json!("2020-01-02T03:04:05.000000Z"), &json!(7)));
    let new = of("New");
    // The creation time, and not the example in the document.
    assert_eq!((&new["entered_at"], &new["score"]), (&new["created_at"], &json!(0)));
}
