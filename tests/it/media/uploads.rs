//! Uploads: what is taken, what is refused, and how long one waits to be sent.

use rapport::channels::media::cleanup;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{bytes, count, upload};
use crate::support::{Service, open_db};

/// Runs what the task does once a minute.
pub fn clean_up(service: &Service) {
    let db = open_db(&service.database, &[]);
    actix_web::rt::System::new().block_on(cleanup::clean_up(db)).expect("it is cleaned up");
}

#[test]
fn upload_is_kept_as_it_came() {
    let service = Service::start();
    let api = &service.client;
    let content = bytes(1_500_000);
    let made =
        upload(api, "..%2FOffer%20%E2%80%AE.pdf", "application/pdf; charset=binary", content.clone()).expect(201);
    let row = &made.json;
    assert_eq!(made.header("location"), format!("/api/v1/attachments/{}", row["id"].as_str().expect("an id")));
    assert_eq!(
        (&row["file_name"], &row["mime_type"], &row["bytes"], &row["sha256"]),
        (
            &json!("Offer .pdf"),
            &json!("application/pdf"),
            &json!(1_500_000),
            &json!(hex::encode(Sha256::digest(&content)))
        )
    );
    assert_eq!(api.get(made.header("location").trim_start_matches("/api/v1/")).expect(200).json, *row);
    let whole = service.database.ask(
        "SELECT (sha256(string_agg(data, ''::bytea ORDER BY number)) = decode(min(a.sha256), 'hex'))::text
        FROM attachment_parts p JOIN attachments a ON a.id = p.attachment_id",
    );
    assert_eq!(whole, "true");
    // A client that cannot set the Content-Type names the type.
    let named = api.upload("attachments?mime_type=image/jpeg", "application/octet-stream", vec![1, 2]).expect(201).json;
    assert_eq!(named["mime_type"], json!("image/jpeg"));
    api.delete(&format!("attachments/{}", named["id"].as_str().expect("an id"))).expect(405);
    for wrong in ["image", "image/", "/jpeg", "image/jpeg;q=1", "Image/JPEG", "*/*", ""] {
        let refused = api.upload(&format!("attachments?mime_type={wrong}"), "image/png", vec![1]).expect(400);
        assert_eq!(refused.faults(), ["/query/mime_type"], "{wrong}");
    }
    // The same upload again, by its key, is the same attachment.
    let keyed = || {
        let request = api.request("POST", "attachments").header("content-type", "image/png");
        api.send(request.header("Idempotency-Key", "upload-1").body(vec![1, 2, 3])).expect(201)
    };
    let (first, second) = (keyed(), keyed());
    assert_eq!((&first.json, second.header("idempotency-replayed")), (&second.json, "true"));
    assert_eq!((count(&service, "attachments").as_str(), count(&service, "attachment_parts").as_str()), ("3", "4"));
}

#[test]
fn upload_refused_with_what_to_do() {
    let service = Service::with(&["--attachment-bytes", "1000"]);
    let api = &service.client;
    assert_eq!(upload(api, "a", "image/png", bytes(1_001)).expect(413).code(), "too_large");
    upload(api, "a", "image/png", bytes(1_000)).expect(201);
    // Of a length that nothing announces.
    let endless = reqwest::blocking::Body::new(std::io::Cursor::new(bytes(3_000)));
    assert_eq!(api.upload("attachments", "image/png", endless).expect(413).code(), "too_large");
    upload(api, "a", "image/png", Vec::new()).expect(422);
    for wrong in ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "image", "image/*"] {
        upload(api, "a", wrong, bytes(3)).expect(415);
    }
    api.send(api.request("POST", "attachments").body(vec![1])).expect(415);
    assert_eq!(api.upload("attachments?name=x", "image/png", bytes(3)).expect(400).code(), "invalid_parameter");
    upload(api, "", "image/png", bytes(3)).expect(400);
    service.client_as(rapport::auth::Role::Viewer).upload("attachments", "image/png", bytes(3)).expect(403);
    assert_eq!((count(&service, "attachments").as_str(), count(&service, "attachment_parts").as_str()), ("1", "1"));
}

#[test]
fn unused_upload_deleted_after_a_day() {
    let service = Service::start();
    let api = &service.client;
    let unused = upload(api, "a.png", "image/png", bytes(10)).expect(201).json;
    assert_eq!(
        service.database.ask("SELECT (expires_at = created_at + interval '1 day')::text FROM attachments"),
        "true"
    );
    clean_up(&service);
    api.get(&format!("attachments/{}", unused["id"].as_str().expect("an id"))).expect(200);
    service.database.run(
        "UPDATE attachments SET expires_at = now();
         INSERT INTO attachment_parts (business_id, attachment_id, number, data, pending_since)
             SELECT business_id, rapport_uuid_v7(), 0, '\\x00', now() - age FROM attachments, (VALUES (interval '25 hours'), ('23 hours')) a (age)",
    );
    clean_up(&service);
    api.get(&format!("attachments/{}", unused["id"].as_str().expect("an id"))).expect(404);
    assert_eq!((count(&service, "attachments").as_str(), count(&service, "attachment_parts").as_str()), ("0", "1"));
    assert_eq!(api.get("attachments").expect(200).json["data"], Value::Array(Vec::new()));
}
