//! Tests of the command `rapport import`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::support::Service;

/// Imports `file` into the service's business; the error report goes to `report`.
fn import(service: &Service, what: &str, file: &Path, report: &Path) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rapport"))
        .args(["import", what])
        .arg(file)
        .args(["--business", "acme", "--report"])
        .arg(report)
        .env("DATABASE_URL", &service.database.url)
        .output()
        .expect("the binary runs");
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, summary)
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

#[test]
fn import_csv_reports_bad_rows_and_repeat_changes_nothing() {
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("errors.csv");

    let (output, summary) = import(&service, "contacts", &sample("contacts.csv"), &report);
    assert_eq!(output.status.code(), Some(1), "rows failed, so the exit code says so");
    assert!(summary.contains("6 rows read: 3 created"), "{summary}");
    let errors = std::fs::read_to_string(&report).unwrap();
    for expected in ["/email", "not an address", "ragged", "/first_name"] {
        assert!(errors.contains(expected), "{expected} is missing in {errors}");
    }

    let contacts = service.client.get("contacts?include=company&sort=name").expect(200);
    let anna = contacts.rows().iter().find(|c| c["first_name"] == "Anna").unwrap();
    assert_eq!(anna["email"], "anna@work.example", "the address at work comes first");
    assert_eq!(anna["metadata"]["email_home"], "anna@home.example", "and nothing is lost");
    assert_eq!((&anna["phone"], &anna["phone_extension"]), (&json!("+14152933313"), &json!("12")));
    assert_eq!(anna["external_id"], "a-1");
    assert_eq!(anna["tags"], json!(["vip", "press"]));
    let bo = contacts.rows().iter().find(|c| c["first_name"] == "Bo").unwrap();
    assert_eq!(anna["company"]["id"], bo["company"]["id"], "one company, however its name is written");

    let before = service.database.cell("SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM contacts t");
    let (_, summary) = import(&service, "contacts", &sample("contacts.csv"), &report);
    assert!(summary.contains("0 created, 0 changed, 3 unchanged, 3 failed"), "{summary}");
    assert_eq!(service.database.cell("SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM contacts t"), before);

    let (_, summary) = import(&service, "companies", &sample("companies.csv"), &report);
    assert!(summary.contains("3 rows read"), "{summary}");
    let brekke = service.client.get("companies?domain=BREKKE.example").expect(200);
    assert_eq!(brekke.rows().len(), 1, "the company that the contacts brought is the one that its own file completes");
    assert_eq!(brekke.rows()[0]["id"], anna["company"]["id"]);
}

#[test]
fn import_missing_or_empty_file_fails_with_reason() {
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.csv");
    std::fs::write(&empty, "").unwrap();
    for (file, expected) in [(folder.path().join("missing.csv"), "missing.csv"), (empty, "empty")] {
        let (output, _) = import(&service, "contacts", &file, &folder.path().join("errors.csv"));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(expected), "{error}");
    }
}

/// The export of another CRM: 500 contacts of 55 companies. It is not in the repository.
#[test]
fn import_export_of_another_crm_creates_all_500_contacts() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/contacts.csv");
    if !file.exists() {
        println!("skipped: there is no {}", file.display());
        return;
    }
    let service = Service::start();
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("errors.csv");
    let (output, summary) = import(&service, "contacts", &file, &report);
    assert!(output.status.success() && summary.contains("500 rows read: 500 created"), "{summary}");
    let contacts = service.client.all("contacts?include=company&limit=500");
    assert_eq!(contacts.len(), 500);
    let companies: std::collections::BTreeSet<&str> =
        contacts.iter().filter_map(|contact| contact["company"]["name"].as_str()).collect();
    assert_eq!(companies.len(), 55, "each company once");
    assert_eq!(service.client.all("companies").len(), 55);
    let (_, summary) = import(&service, "contacts", &file, &report);
    assert!(summary.contains("0 created, 0 changed, 500 unchanged, 0 failed"), "{summary}");
}
