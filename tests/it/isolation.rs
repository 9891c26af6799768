//! Tests of tenant isolation (no business reads or changes another's rows) and of the permissions of each role.

use rapport::app::registry::RESOURCES;
use rapport::auth::{Action, Role};
use rapport::resource::{FieldType, Mutability, Resource};
use serde_json::{Map, Value, json};

use crate::support::{Client, Database, Samples, Service, link_target};

/// A checksum of every row of `business`, over all tables that have rows of a business.
pub fn checksum(database: &Database, business: uuid::Uuid) -> String {
    let union = database.ask(
        "SELECT string_agg(format(
             'SELECT %L || (to_jsonb(t) - ''last_used_at'')::text AS line FROM %I t WHERE t.%I = ''{business}''',
             c.table_name, c.table_name, c.column_name), ' UNION ALL ')
         FROM information_schema.columns c JOIN information_schema.tables USING (table_schema, table_name)
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
           AND (c.column_name = 'business_id' OR (c.table_name, c.column_name) = ('businesses', 'id'))",
    );
    let union = union.replace("{business}", &business.to_string());
    database
        .ask(&format!("SELECT count(*) || ' rows ' || md5(string_agg(line, ',' ORDER BY line)) FROM ({union}) lines"))
}

/// References that no sample has: tests/it/whatsapp and tests/it/media read them.
const WITHOUT_SAMPLE: [(&str, &str); 4] = [
    ("messages", "reply_to_id"),
    ("messages", "author_contact_id"),
    ("messages", "attachment_id"),
    ("attachments", "uploaded_by"),
];

#[test]
fn rows_of_other_tenant_cannot_be_read_or_changed() {
    let service = Service::start();
    let (_, neighbour) = service.neighbour();
    nothing_crosses(&service, &neighbour);
}

/// Tries all operations on the rows of `service`'s first business as `neighbour`, the client of another.
pub fn nothing_crosses(service: &Service, neighbour: &Client) {
    let mut samples = Samples::new(&service.client);
    let victims: Vec<Value> = RESOURCES.iter().map(|resource| samples.row(resource)).collect();
    let mut own_samples = Samples::new(neighbour);
    let own: Vec<Value> = RESOURCES.iter().map(|resource| own_samples.row(resource)).collect();
    let before = checksum(&service.database, service.business);

    for (resource, (victim, own)) in RESOURCES.iter().zip(victims.iter().zip(&own)) {
        let (plural, id) = (resource.path(), victim["id"].as_str().expect("an id"));
        // Ids in the path.
        let all: Vec<&str> = resource.relations.iter().map(|relation| relation.name).collect();
        neighbour.get(&format!("{plural}/{id}")).expect(404);
        if !all.is_empty() {
            neighbour.get(&format!("{plural}/{id}?include={}&fields=id", all.join(","))).expect(404);
        }
        if resource.operations.update {
            neighbour.patch(&format!("{plural}/{id}"), json!({})).expect(404);
        }
        if resource.operations.delete {
            neighbour.delete(&format!("{plural}/{id}")).expect(404);
        }
        if resource.operations.restore {
            neighbour.post(&format!("{plural}/{id}/restoration"), json!({})).expect(404);
        }
        if resource.operations.batch {
            nothing_crosses_in_batches(resource, neighbour, victim, own, &mut own_samples);
        }
        // Ids in a batch, beside the caller's own.
        let body = json!({ "ids": [id, own["id"]], "include": all });
        let batch = neighbour.post(&format!("{plural}/batch/read"), body).expect(200);
        assert_eq!((batch.rows().len(), &batch.json["missing"]), (1, &json!([id])), "{plural}");
        assert!(!batch.json["data"].to_string().contains(id));
        // Lists with all relations included.
        let expanded = if all.is_empty() { String::new() } else { format!("&include={}", all.join(",")) };
        let list = neighbour.get(&format!("{plural}?limit=500&count=exact{expanded}")).expect(200);
        for other in &victims {
            assert!(!list.text.contains(other["id"].as_str().expect("an id")), "{plural}");
        }
        // References: in a filter, which then finds nothing, and in a body, which is rejected.
        for field in resource.fields.iter().filter(|field| field.field_type == FieldType::Uuid && field.name != "id") {
            let foreign = &victim[field.name];
            if WITHOUT_SAMPLE.contains(&(plural, field.name)) {
                continue;
            }
            assert!(foreign.is_string(), "{plural}.{} has nothing to try", field.name);
            if field.filter {
                let query = format!("{plural}?{}={}", field.name, foreign.as_str().expect("an id"));
                assert!(neighbour.get(&query).expect(200).rows().is_empty(), "{query}");
            }
            if field.mutability == Mutability::ReadOnly {
                continue;
            }
            let pointer = format!("/{}", field.name);
            if field.mutability == Mutability::Always {
                let patch = neighbour
                    .patch(&format!("{plural}/{}", own["id"].as_str().expect("an id")), json!({ field.name: foreign }));
                assert_eq!(patch.expect(422).faults(), [pointer.as_str()], "{plural}");
            }
            let mut body: Map<String, Value> = own_samples.body(resource);
            body.insert(field.name.to_owned(), foreign.clone());
            let made = neighbour.post(plural, Value::Object(body)).expect(422);
            assert_eq!(made.faults(), [pointer.as_str()], "{plural} of {}", link_target(resource, field).plural);
        }
    }
    assert_eq!(checksum(&service.database, service.business), before);
    // A cursor is a position in an order; it gives no access to another business.
    samples.row(RESOURCES[0]);
    let plural = RESOURCES[0].plural;
    let page = service.client.get(&format!("{plural}?limit=1&sort=created_at")).expect(200);
    let cursor = page.json["page"]["next"].as_str().expect("a page more");
    let page = neighbour.get(&format!("{plural}?sort=created_at&cursor={cursor}")).expect(200);
    let own_leads = neighbour.all(plural);
    assert!(page.rows().iter().all(|row| own_leads.contains(row)) && !own_leads.is_empty());
}

/// Rows of another business among the items, references and keys of write batches.
fn nothing_crosses_in_batches(
    resource: &'static Resource,
    neighbour: &Client,
    victim: &Value,
    own: &Value,
    own_samples: &mut Samples,
) {
    let write = |act: &str, body: Value| neighbour.post(&format!("{}/batch/{act}", resource.plural), body);
    let of = |answer: &crate::support::Answer, name: &str| -> Vec<Value> {
        let results = answer.json["results"].as_array().unwrap_or_else(|| panic!("{}", answer.text));
        results.iter().map(|result| result[name].clone()).collect()
    };
    let (id, own_id) = (&victim["id"], &own["id"]);
    let items = json!([{ "id": id, "metadata": { "mine": true } }, { "id": own_id, "metadata": {} }]);
    assert_eq!(write("update", json!({ "items": items })).expect(404).faults(), ["/items/0/id"], "{}", resource.plural);
    let each = write("update", json!({ "items": items, "all_or_none": false })).expect(200);
    assert_eq!(of(&each, "status"), [404, 200], "{}", resource.plural);
    let other = own_samples.id(resource);
    assert_eq!(write("delete", json!({ "ids": [other, id] })).expect(404).faults(), ["/ids/1"]);
    let each = write("delete", json!({ "ids": [other, id], "all_or_none": false })).expect(200);
    assert_eq!(of(&each, "status"), [204, 404]);
    // A unique value of another business's row matches the caller's own row or creates a new one.
    for key in resource.unique_fields() {
        let mut body: Map<String, Value> = own_samples.body(resource);
        body.insert(key.name.to_owned(), victim[key.name].clone());
        body.insert("metadata".to_owned(), json!({ "mine": true }));
        body.retain(|name, _| {
            resource
                .field(name)
                .is_some_and(|field| field.mutability == Mutability::Always || field.unique || field.required)
        });
        let matched =
            write("upsert", json!({ "id_property": key.name, "items": [body], "all_or_none": false })).expect(200);
        assert_ne!(&of(&matched, "id")[0], id, "{} by {}", resource.plural, key.name);
    }
    let links = resource
        .fields
        .iter()
        .filter(|field| field.field_type == FieldType::Uuid && field.mutability != Mutability::ReadOnly);
    for field in links {
        let mut body: Map<String, Value> = own_samples.body(resource);
        body.insert(field.name.to_owned(), victim[field.name].clone());
        let pointer = format!("/items/1/{}", field.name);
        let items = json!([own_samples.body(resource), body]);
        assert_eq!(write("create", json!({ "items": items })).expect(422).faults(), [pointer.as_str()]);
        let key = resource.unique_fields().next().expect("a key").name;
        let matched = write("upsert", json!({ "id_property": key, "items": items })).expect(422);
        assert_eq!(matched.faults(), [pointer.as_str()]);
        if field.mutability == Mutability::Always {
            let items = json!([{ "id": own_id }, { "id": own_id, field.name: victim[field.name] }]);
            let changed = write("update", json!({ "items": [items[1]] })).expect(422);
            assert_eq!(changed.faults(), [pointer.replace("/1/", "/0/")]);
        }
    }
}

#[test]
fn request_without_valid_credential_401() {
    let service = Service::with(&["--credential-cache-ms", "1", "--rate-limit-address", "6000"]);
    let id = service.client.make("leads", json!({ "title": "Roof" }));
    let revoked = service.client.create("api-keys", json!({ "name": "Old", "role": "owner" }));
    let key = revoked["key"].as_str().expect("a key");
    Client::new(service.address, key).get("leads").expect(200);
    service.client.delete(&format!("api-keys/{}", revoked["id"].as_str().expect("an id"))).expect(204);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let before = checksum(&service.database, service.business);

    let long = "k".repeat(5_000);
    let clients = [
        service.stranger(),
        Client::new(service.address, "rk_nonsense"),
        Client::new(service.address, key),
        Client::new(service.address, &long),
    ];
    for client in &clients {
        for resource in RESOURCES {
            let plural = resource.path();
            client.get(plural).expect(401);
            client.get(&format!("{plural}/{id}")).expect(401);
            client.post(&format!("{plural}/batch/read"), json!({ "ids": [id] })).expect(401);
            if resource.operations.create {
                client.post(plural, json!({})).expect(401);
            }
            if resource.operations.update {
                client.patch(&format!("{plural}/{id}"), json!({})).expect(401);
            }
            if resource.operations.delete {
                client.delete(&format!("{plural}/{id}")).expect(401);
            }
            if resource.operations.restore {
                client.post(&format!("{plural}/{id}/restoration"), json!({})).expect(401);
            }
        }
    }
    for credential in ["Bearer", "Bearer ", "Basic dTpw", "bearer\trk_x", "rk_x", "Bearer \u{fc}"] {
        let request = service.stranger().request("GET", "leads").header("Authorization", credential);
        let answer = service.stranger().send(request).expect(401);
        assert_eq!((answer.header("www-authenticate"), answer.code()), ("Bearer", "unauthenticated"));
    }
    assert_eq!(checksum(&service.database, service.business), before);
    // The authentication scheme is case-insensitive (RFC 9110, section 11.1).
    let made = service.client.create("api-keys", json!({ "name": "New", "role": "viewer" }));
    let request = service.stranger().request("GET", "leads");
    let request = request.header("Authorization", format!("bEARER {}", made["key"].as_str().expect("a key")));
    service.stranger().send(request).expect(200);
}

#[test]
fn role_permissions_enforced_for_each_resource() {
    let service = Service::start();
    let mut samples = Samples::new(&service.client);
    for role in [Role::Viewer, Role::Agent, Role::Manager, Role::Admin, Role::Owner] {
        let client = service.client_as(role);
        for resource in RESOURCES {
            let (plural, operations) = (resource.path(), resource.operations);
            let row = samples.row(resource);
            let path = format!("{plural}/{}", row["id"].as_str().expect("an id"));
            let allowed = |action, status: u16| if role.may(resource.area, action) { status } else { 403 };
            client.get(plural).expect(allowed(Action::Read, 200));
            client.get(&path).expect(allowed(Action::Read, 200));
            client
                .post(&format!("{plural}/batch/read"), json!({ "ids": [row["id"]] }))
                .expect(allowed(Action::Read, 200));
            if operations.create {
                // Permissions are checked before the body: callers without them get no validation errors.
                client.post(plural, json!({})).expect(allowed(Action::Write, 422));
            }
            if operations.update {
                client.patch(&path, json!({})).expect(allowed(Action::Write, 200));
            }
            if operations.batch {
                // Batches that return rows need the read permission; it is checked before the body, too.
                for act in ["create", "update", "upsert"] {
                    client.post(&format!("{plural}/batch/{act}"), json!({})).expect(allowed(Action::Write, 422));
                }
                client.post(&format!("{plural}/batch/delete"), json!({})).expect(allowed(Action::Delete, 422));
            }
            if operations.delete {
                client.delete(&path).expect(allowed(Action::Delete, 204));
            }
            if operations.restore {
                client.post(&format!("{path}/restoration"), json!({})).expect(allowed(Action::Delete, 200));
            }
        }
    }
    // Explicit expectations for the most important permissions.
    let (viewer, agent, manager) =
        (service.client_as(Role::Viewer), service.client_as(Role::Agent), service.client_as(Role::Manager));
    let lead = agent.make("leads", json!({ "title": "Roof" }));
    viewer.patch(&format!("leads/{lead}"), json!({ "title": "Mine" })).expect(403);
    viewer.post("leads", json!({ "title": "Mine" })).expect(403);
    agent.delete(&format!("leads/{lead}")).expect(403);
    manager.get("api-keys").expect(403);
    manager.post("api-keys", json!({ "name": "Mine", "role": "viewer" })).expect(403);
    manager.post("users", json!({ "email": "m@example.com", "name": "M", "role": "viewer" })).expect(403);
    manager.delete(&format!("leads/{lead}")).expect(204);
}

#[test]
fn grant_role_above_own_403() {
    let service = Service::start();
    let admin = service.client_as(Role::Admin);
    let person = |role: &str| json!({ "email": format!("{role}@example.com"), "name": "N", "role": role });
    admin.post("users", person("owner")).expect(403);
    let agent = admin.create("users", person("agent"));
    let (user, membership) = (agent["id"].as_str().expect("an id"), agent["membership_id"].as_str().expect("an id"));
    for path in [format!("users/{user}"), format!("memberships/{membership}")] {
        assert_eq!(admin.patch(&path, json!({ "role": "owner" })).expect(403).code(), "forbidden");
        admin.patch(&path, json!({ "role": "admin" })).expect(200);
        service.client.patch(&path, json!({ "role": "owner" })).expect(200);
        service.client.create(
            "users",
            json!({ "email": format!("{}@example.com", path.replace('/', ".")), "name": "N", "role": "owner" }),
        );
        service.client.patch(&path, json!({ "role": "agent" })).expect(200);
    }
    admin.post("api-keys", json!({ "name": "Mine", "role": "owner" })).expect(403);
    assert!(service.client.get("users?role=owner").expect(200).rows().iter().all(|row| row["id"] != json!(user)));
}
