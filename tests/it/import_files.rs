//! Tests of malformed import files: each rejected row is reported, and no other row is lost.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::import_api::{counts, csv, id, rested, service};
use crate::support::{Answer, Client, Program, Service};

fn errors(api: &Client, import: &Value, query: &str) -> Vec<String> {
    let path = format!("imports/{}/errors{query}", import["id"].as_str().expect("an id"));
    api.get(&path).expect(200).text.lines().map(str::to_owned).collect()
}

fn imported(api: &Client, file: &str) -> Value {
    rested(api, &id(&csv(api, "", file).expect(202)))
}

/// Imports `file` on the command line; returns its output and its error report.
fn on_the_command_line(service: &Service, file: &str) -> (String, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, report) = (folder.path().join("file.csv"), folder.path().join("errors.csv"));
    std::fs::write(&path, file).expect("a file");
    let arguments = ["import", "contacts", path.to_str().expect("text"), "--business", "acme", "--report"];
    let mut command = Program::command(&arguments, &[("DATABASE_URL", service.database.url.as_str())]);
    let output = command.arg(&report).output().expect("it runs");
    let report = std::fs::read_to_string(&report).unwrap_or_default();
    (String::from_utf8_lossy(&output.stdout).into_owned(), report.lines().map(str::to_owned).collect())
}

#[test]
fn import_error_report_keeps_cells_and_escapes_formulas() {
    let service = service();
    let file = "First Name,=Note,Email\nAda,=1+1,no-address\n\nBob,,none-either\n";
    let reported = errors(&service.client, &imported(&service.client, file), "");
    assert!(reported[0].starts_with("row,First Name,'=Note,Email,"), "{reported:?}");
    assert!(reported[1].starts_with("2,Ada,'=1+1,no-address,/email,"), "{reported:?}");
    assert!(reported[2].starts_with("3,Bob,,none-either,/email,"), "{reported:?}");
    assert_eq!(on_the_command_line(&service, file).1, reported);
    // Corrected, the error report is a valid file of these rows.
    let mended = reported.join("\n").replace("no-address", "ada@example.com").replace("none-either", "bob@example.com");
    assert_eq!(counts(&imported(&service.client, &mended)), [2, 2, 0, 0, 0, 0]);
    let ada = service.client.get("contacts?email=ada@example.com").expect(200).rows()[0].clone();
    assert_eq!((&ada["first_name"], &ada["metadata"]), (&json!("Ada"), &json!({ "=Note": "=1+1" })));
    // A line of JSON is one cell.
    let answer = service.client.upload("imports?resource=contacts", "application/x-ndjson", "=1+1\n").expect(202);
    let reported = errors(&service.client, &rested(&service.client, &id(&answer)), "");
    assert!(reported[1].starts_with("1,'=1+1,"), "{reported:?}");
}

#[test]
fn import_unclosed_quote_refuses_the_rest_row_by_row() {
    let service = service();
    let api = &service.client;
    let file = "first_name,email\nAnn,ann@example.com\n\"Bo,bo@example.com\nCy,cy@example.com\nDee,dee@example.com\n";
    let import = imported(api, file);
    assert_eq!((&import["state"], counts(&import)), (&json!("imported"), [4, 1, 0, 0, 3, 0]), "{import}");
    let reported = errors(api, &import, "");
    let begins = ["3,\"Bo,bo@example.com\"", "4,Cy,cy@example.com,,unclosed_quote,", "5,Dee,dee@example.com,"];
    for (line, begin) in reported[1..].iter().zip(begins) {
        assert!(line.starts_with(begin), "{reported:?}");
    }
    assert!(reported[2].contains("Row 3 opens a quote"), "{reported:?}");
    let (summary, report) = on_the_command_line(&service, file);
    assert!(summary.contains("4 rows read: 0 created, 0 changed, 1 unchanged, 3 failed"), "{summary}");
    assert_eq!(report, reported);

    // An unclosed quote that another row's quote closes rejects these rows, and no other.
    let file =
        "first_name,email\n\"Eve,eve@example.com\nFay,fay@example.com\n\"Gus\",gus@example.com\nHal,hal@example.com\n";
    let import = imported(api, file);
    assert_eq!(counts(&import), [4, 1, 0, 0, 3, 0], "{import}");
    assert_eq!(api.get("contacts?email=hal@example.com").expect(200).rows().len(), 1);
    // A quote within a cell is data.
    let import = imported(api, "first_name,title,email\n5\" Nail,\"a \"\"b\"\"\nc\",nail@example.com\n");
    assert_eq!(counts(&import), [1, 1, 0, 0, 0, 0], "{import}");
    let nail = api.get("contacts?email=nail@example.com").expect(200).rows()[0].clone();
    assert_eq!((&nail["first_name"], &nail["title"]), (&json!("5\" Nail"), &json!("a \"b\" c")));
}

#[test]
fn import_unclosed_quote_before_many_rows_caps_the_report() {
    let service = service();
    let api = &service.client;
    let mut file = String::from("first_name,email\nAnn,ann@example.com\n\"Bo,bo@example.com\n");
    for number in 0..40_000 {
        writeln!(file, "N{number},n{number}@example.com").expect("text");
    }
    let import = imported(api, &file);
    assert_eq!((&import["state"], counts(&import)), (&json!("imported"), [40_002, 1, 0, 0, 40_001, 0]), "{import}");
    let reported = errors(api, &import, "");
    assert_eq!(reported.len(), 1 + 1_000 + 1, "headers, rows, and one for the rest");
    assert!(
        reported[1001].starts_with("1003,,,,unclosed_quote,\"Rows 1003 to 40003 (39001 in all)"),
        "{}",
        reported[1001]
    );
    let (summary, report) = on_the_command_line(&service, &file);
    assert!(summary.contains("40002 rows read: 0 created, 0 changed, 1 unchanged, 40001 failed"), "{summary}");
    assert_eq!(report, reported);
}

#[test]
fn import_duplicate_headers_keeps_values_and_notes_them() {
    let service = service();
    let api = &service.client;
    let file = "Email,Email,First Name,Title,Title\na@example.com,b@example.com,Ann,CEO,CTO\nc@example.com,C@example.com,Bo,,\n,d@example.com,Cy,x,x\n";
    let answer = csv(api, "dry_run=true", file).expect(202);
    rested(api, &id(&answer));
    let path = format!("imports/{}", id(&answer));
    let preview = api.get(&format!("{path}/preview")).expect(200).json;
    let notes = &preview["notes"];
    assert_eq!(notes.as_object().expect("notes").keys().collect::<Vec<_>>(), ["Email_2", "Title_2"], "{preview}");
    assert!(notes["Email_2"].as_str().is_some_and(|note| note.contains("`Email` is taken as `email`")), "{notes}");
    let noted: Vec<&str> = preview["changes"]["2"]["notes"]
        .as_array()
        .expect("notes")
        .iter()
        .filter_map(|note| note["pointer"].as_str())
        .collect();
    assert_eq!(noted, ["/email"], "{preview}");
    api.post(&format!("{path}/execution"), json!({})).expect(202);
    let import = rested(api, &id(&answer));
    assert_eq!(counts(&import), [3, 3, 0, 0, 0, 0], "{import}");
    let of = |email: &str| api.get(&format!("contacts?email={email}")).expect(200).rows()[0].clone();
    let ann = of("a@example.com");
    assert_eq!(
        (&ann["title"], &ann["metadata"]),
        (&json!("CEO"), &json!({ "Email_2": "b@example.com", "Title_2": "CTO" }))
    );
    assert_eq!(of("d@example.com")["first_name"], "Cy");
    // The rejected rows; with notes also the rows whose values were partly stored elsewhere.
    assert_eq!(errors(api, &import, "").len(), 1);
    let noted = errors(api, &import, "?notes=true");
    assert!(noted[1].starts_with("2,a@example.com,b@example.com,Ann,CEO,CTO,/email,kept_in_metadata,"), "{noted:?}");
    assert_eq!(api.get(&format!("{path}/errors?note=true")).expect(400).faults(), ["/query/note"]);
    assert_eq!(counts(&imported(api, file)), [3, 0, 0, 3, 0, 0]);
}

#[test]
fn import_row_numbers_count_csv_records_and_json_lines() {
    let service = service();
    let api = &service.client;
    // The header is row 1; cells with line breaks belong to their row; empty lines are no rows, rows of empty cells
    // are.
    let file = "first_name,title,email\nAnn,\"Head\nof\nSales\",ann@example.com\n\nBo,,bad\n,,\nCy,,worse\n";
    let begins = ["3,Bo,,bad,/email,format,", "5,Cy,,worse,/email,format,"];
    let reported = errors(api, &imported(api, file), "");
    assert_eq!(reported.len(), 3, "{reported:?}");
    assert!(reported[1..].iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{reported:?}");

    // The command line counts likewise, exits with 1, and writes the report beside the file.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("people.csv");
    std::fs::write(&path, file).expect("a file");
    let arguments = ["import", "contacts", path.to_str().expect("text"), "--business", "acme"];
    let settings = [("DATABASE_URL", service.database.url.as_str())];
    let output = Program::command(&arguments, &settings).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = std::fs::read_to_string(folder.path().join("people.errors.csv")).expect("a report");
    assert_eq!(report.lines().collect::<Vec<_>>(), reported);

    // In lines of JSON every line counts, from the first on. A blank required value is one error.
    let file = "{\"first_name\":\"Dee\"}\n\n{\"first_name\":\" \",\"last_name\":null}\n{\"first_name\":\" \",\"email\":\"bad\"}\n";
    let answer = api.upload("imports?resource=contacts", "application/x-ndjson", file).expect(202);
    let reported = errors(api, &rested(api, &id(&answer)), "");
    let told = |number: &str| -> Vec<&String> { reported.iter().filter(|line| line.starts_with(number)).collect() };
    let blank: Vec<&String> = told("3,").into_iter().filter(|line| line.contains("/first_name")).collect();
    assert!(blank.len() == 1 && blank[0].contains("required") && blank[0].contains("at least one of"), "{reported:?}");
    assert!(told("4,").iter().any(|line| line.contains("/email,format")), "{reported:?}");
    assert!(!told("4,").iter().any(|line| line.contains("required")), "{reported:?}");
}

#[test]
fn import_preview_notes_shared_columns_targets_round_trip() {
    let service = service();
    let api = &service.client;
    let file = "first_name,email,Tags,Labels,version\nAnn,ann@example.com,vip,press,7\n";
    let answer = csv(api, "start=false", file).expect(201);
    assert_eq!(noted(api, &answer), ["Labels", "version"]);
    let path = format!("imports/{}", id(&answer));
    let targets = &answer.json["targets"];
    assert_eq!((&targets["Labels"], &targets["version"]), (&json!("tags"), &json!("metadata.version")));
    // Sent back as the mapping, it means the same.
    let changed = api.patch(&path, json!({ "mapping": targets })).expect(200).json;
    assert_eq!(&changed["targets"], targets);
    api.post(&format!("{path}/execution"), json!({})).expect(202);
    rested(api, &id(&answer));
    let of = || api.get("contacts?email=ann@example.com").expect(200).rows()[0].clone();
    let ann = of();
    assert_eq!(
        (&ann["tags"], &ann["metadata"], &ann["version"]),
        (&json!(["vip", "press"]), &json!({ "version": "7" }), &json!(1))
    );
    // Columns of an export that only describe their source row are left out.
    let file = api.get("contacts/export").expect(200).text;
    let answer = csv(api, "start=false", file).expect(201);
    let path = format!("imports/{}", id(&answer));
    api.patch(&path, json!({ "mapping": answer.json["targets"] })).expect(200);
    api.post(&format!("{path}/execution"), json!({})).expect(202);
    assert_eq!(counts(&rested(api, &id(&answer))), [1, 0, 0, 1, 0, 0]);
    assert_eq!(of(), ann);
}

#[test]
fn import_preview_notes_read_only_columns() {
    let service = service();
    let api = &service.client;
    api.create("contacts", json!({ "first_name": "Ann" }));
    let file = api.get("contacts/export").expect(200).text;
    let answer = csv(api, "start=false", file).expect(201);
    assert_eq!(noted(api, &answer), ["created_at", "id", "updated_at", "version"]);
    let file = api.get("contacts/export?format=ndjson").expect(200).text;
    let answer = api.upload("imports?resource=contacts&dry_run=true", "application/x-ndjson", file).expect(202);
    rested(api, &id(&answer));
    assert_eq!(noted(api, &answer), ["created_at", "updated_at", "version"]);
}

/// The columns with notes in the preview.
fn noted(api: &Client, import: &Answer) -> Vec<String> {
    let preview = api.get(&format!("imports/{}/preview", id(import))).expect(200).json;
    let mut names: Vec<String> = preview["notes"].as_object().expect("notes").keys().cloned().collect();
    names.sort();
    names
}

#[test]
fn import_json_duplicate_member_is_refused() {
    let service = service();
    let file = "{\"email\":\"a@example.com\",\"email\":\"b@example.com\"}\n{\"email\":\"c@example.com\"}\n";
    let answer = service.client.upload("imports?resource=contacts", "application/x-ndjson", file).expect(202);
    let import = rested(&service.client, &id(&answer));
    assert_eq!(counts(&import), [2, 1, 0, 0, 1, 0], "{import}");
    assert!(errors(&service.client, &import, "")[1].contains("/email,duplicate,"));
}
