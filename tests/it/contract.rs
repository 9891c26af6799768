//! Runs every operation of the OpenAPI document as every caller without the permission. An operation that is missing
//! from the lists here fails the test, so that none is added untested.

use std::collections::BTreeSet;

use rapport::app::registry::RESOURCES;
use rapport::auth::{Action, Area, Role};
use serde_json::{Value, json};

use crate::isolation::checksum;
use crate::sign_in::{PASSWORD, admit, sign_in};
use crate::support::{Client, Samples, Service};

/// Operations that need no credential, with the reason.
const OPEN: [(&str, &str); 13] = [
    ("GET /webhooks/whatsapp", "the verify token is the credential"),
    ("POST /webhooks/whatsapp", "the signature is the credential"),
    ("POST /api/v1/auth/oidc/authorizations", "it is how people come in"),
    ("POST /api/v1/auth/oidc/sessions", "what the provider sent back is the credential"),
    ("GET /health", "probes come from machines that have no key"),
    ("GET /health/liveness", "the same"),
    ("GET /health/readiness", "the same"),
    ("GET /health/startup", "the same"),
    ("POST /api/v1/auth/sessions", "it is how people come in"),
    ("POST /api/v1/auth/tokens", "the refresh token is its credential"),
    ("POST /api/v1/auth/password-resets", "who forgot their password has no other way in"),
    ("POST /api/v1/auth/passwords", "the token of a mail is its credential"),
    ("POST /api/v1/auth/invitations", "the same"),
];

/// The permission that an operation needs besides a valid credential.
#[derive(Clone, Copy)]
enum Needs {
    Permission(Area, Action),
    /// A signed-in user; the operation concerns their own data.
    Person,
    Nothing,
}

/// Operations that not every resource has.
const OTHERS: [(&str, Needs); 56] = [
    ("POST /api/v1/conversations/{id}/messages", Needs::Permission(Area::Crm, Action::Write)),
    ("POST /api/v1/messages/{id}/approval", Needs::Permission(Area::Crm, Action::Write)),
    ("POST /api/v1/messages/{id}/retry", Needs::Permission(Area::Crm, Action::Write)),
    // They delete no row.
    ("DELETE /api/v1/conversations/{id}/assignment", Needs::Permission(Area::Crm, Action::Write)),
    ("DELETE /api/v1/conversations/{id}/snooze", Needs::Permission(Area::Crm, Action::Write)),
    ("DELETE /api/v1/conversations/{id}/closure", Needs::Permission(Area::Crm, Action::Write)),
    ("DELETE /api/v1/conversations/{id}/labels/{label}", Needs::Permission(Area::Crm, Action::Write)),
    ("DELETE /api/v1/staff/{id}/services/{service}", Needs::Permission(Area::Business, Action::Write)),
    ("GET /api/v1/availability", Needs::Permission(Area::Business, Action::Read)),
    ("POST /api/v1/task-claims", Needs::Permission(Area::Workers, Action::Write)),
    ("POST /api/v1/worker-tasks/{id}/renewal", Needs::Permission(Area::Workers, Action::Write)),
    ("POST /api/v1/worker-tasks/{id}/completion", Needs::Permission(Area::Workers, Action::Write)),
    ("POST /api/v1/worker-tasks/{id}/failure", Needs::Permission(Area::Workers, Action::Write)),
    ("POST /api/v1/worker-tasks/{id}/cancellation", Needs::Permission(Area::Workers, Action::Write)),
    ("GET /api/v1/stats/ai-usage", Needs::Permission(Area::Crm, Action::Read)),
    ("POST /api/v1/inbound-updates/{id}/application", Needs::Permission(Area::Channels, Action::Write)),
    ("POST /api/v1/channels/{id}/inbound-replays", Needs::Permission(Area::Channels, Action::Write)),
    ("GET /api/v1/channels/{id}/secrets", Needs::Permission(Area::Channels, Action::Read)),
    ("POST /api/v1/channels/{id}/secrets", Needs::Permission(Area::Channels, Action::Write)),
    ("DELETE /api/v1/channels/{id}/secrets/{secret}", Needs::Permission(Area::Channels, Action::Write)),
    ("POST /api/v1/imports/{id}/reversion", Needs::Permission(Area::Crm, Action::Delete)),
    ("POST /api/v1/ops/jobs/{id}/cancellation", Needs::Permission(Area::Operations, Action::Write)),
    ("GET /api/v1/webhooks/{id}/deliveries", Needs::Permission(Area::Webhooks, Action::Read)),
    ("POST /api/v1/webhooks/{id}/deliveries/{delivery}/redelivery", Needs::Permission(Area::Webhooks, Action::Write)),
    // Events are visible to callers who may read their resources.
    ("GET /api/v1/events", Needs::Nothing),
    ("GET /api/v1/events/stream", Needs::Nothing),
    ("POST /api/v1/contacts/duplicates", Needs::Permission(Area::Crm, Action::Read)),
    ("POST /api/v1/companies/duplicates", Needs::Permission(Area::Crm, Action::Read)),
    ("POST /api/v1/contacts/{id}/merge", Needs::Permission(Area::Crm, Action::Delete)),
    ("POST /api/v1/companies/{id}/merge", Needs::Permission(Area::Crm, Action::Delete)),
    ("POST /api/v1/merges/{id}/reversion", Needs::Permission(Area::Crm, Action::Delete)),
    ("GET /api/v1/contacts/{id}/export", Needs::Permission(Area::Privacy, Action::Read)),
    ("POST /api/v1/contacts/{id}/erasure", Needs::Permission(Area::Privacy, Action::Delete)),
    ("GET /health/detailed", Needs::Permission(Area::Operations, Action::Read)),
    ("GET /api/v1/ops/cache", Needs::Permission(Area::Operations, Action::Read)),
    ("POST /api/v1/ops/cache/purge", Needs::Permission(Area::Operations, Action::Write)),
    ("POST /api/v1/api-keys/{id}/rotation", Needs::Permission(Area::Keys, Action::Write)),
    ("GET /api/v1/stats/overview", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/stats/bookings", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/stats/messages", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/stats/conversations", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/stats/leads", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/stats/leads/funnel", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/dashboards/sales", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/dashboards/inbox", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/dashboards/bookings", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/stats/campaigns", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/stats/ai", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/stats/revenue", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/stats/response-times", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/agent-metrics", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/campaigns/{id}/statistics", Needs::Permission(Area::Crm, Action::Read)),
    ("GET /api/v1/me", Needs::Nothing),
    ("GET /api/v1/auth/sessions", Needs::Person),
    ("DELETE /api/v1/auth/sessions/{id}", Needs::Person),
    ("POST /api/v1/auth/password-changes", Needs::Person),
];

/// `GET /api/v1/leads/{id}` with what it needs, and the id of a row of the first business to put into its path.
struct Operation {
    name: String,
    needs: Needs,
    victim: String,
}

impl Operation {
    fn call(&self, client: &Client) -> crate::support::Answer {
        let (method, path) = self.name.split_once(' ').expect("a method and a path");
        // A stream never ends by itself; one that starts after an unknown event is rejected.
        let path = if path.ends_with("/events/stream") { format!("{path}?after=999999999") } else { path.to_owned() };
        let request = client.request(method, &path.replace("{id}", &self.victim));
        let takes_body = matches!(method, "POST" | "PATCH" | "PUT");
        client.send(if takes_body { request.json(&self.body()) } else { request })
    }

    /// A valid body where it matters, so that the rejection is not about the body.
    fn body(&self) -> Value {
        match self.name.as_str() {
            name if name.ends_with("/merge") => json!({ "from": [uuid::Uuid::now_v7()] }),
            name if name.ends_with("/duplicates") => json!({ "id": self.victim }),
            name if name.ends_with("/processing") => json!({ "decision": { "decision": "qualify" } }),
            name if name.ends_with("/batch/read") || name.ends_with("/batch/delete") => json!({ "ids": [self.victim] }),
            name if name.ends_with("/batch/update") => json!({ "items": [{ "id": self.victim, "metadata": {} }] }),
            name if name.ends_with("/secrets") => json!({ "kind": "app_secret", "value": "12345678" }),
            name if name.ends_with("/conversations/{id}/messages") => json!({ "body": "Hi" }),
            "POST /api/v1/staff/{id}/services" => json!({ "service_id": self.victim }),
            "PUT /api/v1/staff/{id}/schedule" => json!({ "weekly": [] }),
            "PUT /api/v1/conversations/{id}/assignment" => json!({ "assignee_id": self.victim }),
            name if name.starts_with("PUT ") && name.ends_with("/snooze") => {
                json!({ "until": (chrono::Utc::now() + chrono::TimeDelta::hours(1)).to_rfc3339() })
            }
            name if name.ends_with("/inbound-replays") => json!({ "after": "2026-11-20T09:30:00Z" }),
            name if name.ends_with("/task-claims") => json!({ "kinds": ["reply"] }),
            name if name.ends_with("/failure") => json!({ "token": self.victim, "error": "It failed." }),
            name if name.ends_with("/renewal") || name.ends_with("-tasks/{id}/completion") => {
                json!({ "token": self.victim })
            }
            name if name.ends_with("/reschedule") => json!({ "starts_at": "2027-03-01T10:00:00Z" }),
            name if name.ends_with("/replays") => json!({ "after": 0 }),
            name if name.ends_with("/password-changes") => {
                json!({ "current_password": PASSWORD, "new_password": "another long password" })
            }
            _ => json!({}),
        }
    }
}

/// Every operation of the document that needs a credential. Fails for one that is in no list.
fn operations(service: &Service) -> Vec<Operation> {
    let mut samples = Samples::new(&service.client);
    let rows: Vec<String> =
        RESOURCES.iter().map(|resource| samples.row(resource)["id"].as_str().expect("an id").to_owned()).collect();
    let document = service.stranger().get("/openapi.json").expect(200).json;
    let mut named = BTreeSet::new();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        // An operation of several resources is one of each.
        let paths: Vec<String> = match path.contains("{resource}") {
            true => RESOURCES
                .iter()
                .filter(|resource| is_documented(&document, methods, resource.path()))
                .map(|resource| path.replace("{resource}", resource.path()))
                .collect(),
            false => vec![path.clone()],
        };
        assert!(!paths.is_empty(), "{path} is of no resource");
        for (path, method) in
            paths.iter().flat_map(|path| methods.as_object().expect("methods").keys().map(move |method| (path, method)))
        {
            let name = format!("{} {path}", method.to_uppercase());
            named.insert(name.clone());
            let open = OPEN.iter().any(|(open, _)| *open == name);
            let declared = methods[method]["security"] == json!([{}]);
            assert_eq!(open, declared, "{name}: whether it needs a credential");
            if open {
                continue;
            }
            let other = OTHERS.iter().find(|(known, _)| *known == name).map(|(_, needs)| *needs);
            let resource = path.strip_prefix("/api/v1/").and_then(|rest| {
                let below =
                    |path: &str| rest.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                RESOURCES.iter().position(|resource| below(resource.path()))
            });
            let needs = other.or_else(|| {
                let area = RESOURCES[resource?].area;
                let action = match (method.as_str(), path.rsplit('/').next().unwrap_or_default()) {
                    ("get", _) | ("post", "read") => Action::Read,
                    ("delete", _) | ("post", "restoration" | "delete") => Action::Delete,
                    _ => Action::Write,
                };
                Some(Needs::Permission(area, action))
            });
            let needs = needs.unwrap_or_else(|| panic!("{name} has no row in this test"));
            let victim = resource.map_or_else(|| uuid::Uuid::now_v7().to_string(), |place| rows[place].clone());
            found.push(Operation { name, needs, victim });
        }
    }
    for (name, _) in &OTHERS {
        assert!(named.contains(*name), "{name} is not in the document any more");
    }
    found
}

/// Whether the path parameter `resource` of the operations takes this value.
fn is_documented(document: &Value, methods: &Value, path: &str) -> bool {
    let parameters = methods.as_object().into_iter().flat_map(|all| all.values());
    let parameters = parameters.flat_map(|operation| operation["parameters"].as_array().into_iter().flatten());
    parameters.filter(|parameter| parameter["name"] == "resource" && parameter["in"] == "path").any(|parameter| {
        let to = parameter["schema"]["$ref"].as_str().expect("a reference").trim_start_matches('#');
        let values = document.pointer(to).and_then(|schema| schema["enum"].as_array()).expect("values");
        values.iter().any(|value| *value == path)
    })
}

#[test]
fn each_operation_without_permission_401_403_or_404() {
    // No rate limit, so that every one of so many rejections is checked.
    let service = Service::with(&["--rate-limit-address", "0"]);
    let (_, neighbour) = service.neighbour();
    admit(&service, "acme", "gone@example.com", "owner");
    admit(&service, "acme", "amina@example.com", "owner");
    admit(&service, "neighbour", "bo@example.com", "owner");
    let token =
        |email: &str| sign_in(&service, email).expect(201).json["access_token"].as_str().expect("a token").to_owned();
    let bearer = |credential: &str| Client::new(service.address, credential);
    let (gone, next_door) = (bearer(&token("gone@example.com")), bearer(&token("bo@example.com")));
    let amina = token("amina@example.com");
    let revoked = service.client.create("api-keys", json!({ "name": "Old", "role": "owner" }));
    let ended = service.client.create("api-keys", json!({ "name": "Ended", "role": "owner" }));
    service.database.run("UPDATE api_keys SET expires_at = now() - interval '1 hour' WHERE name = 'Ended'");
    let mut operations = operations(&service);
    // A session to be ended by others.
    let session =
        bearer(&amina).get("auth/sessions").expect(200).json["data"][0]["id"].as_str().expect("an id").to_owned();
    operations
        .iter_mut()
        .filter(|one| one.name.ends_with("/auth/sessions/{id}"))
        .for_each(|one| one.victim = session.clone());
    gone.delete("auth/sessions/current").expect(204);
    service.client.delete(&format!("api-keys/{}", revoked["id"].as_str().expect("an id"))).expect(204);
    let forged = {
        let (signed, _) = amina.rsplit_once('.').expect("a token");
        format!("{signed}.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
    };
    let strangers = [
        ("no credential", service.stranger()),
        ("nonsense", bearer("rk_nonsense")),
        ("a revoked key", bearer(revoked["key"].as_str().expect("a key"))),
        ("a key that has ended", bearer(ended["key"].as_str().expect("a key"))),
        ("an ended session", gone),
        ("a forged token", bearer(&forged)),
    ];
    let roles = [Role::Viewer, Role::Agent, Role::Manager, Role::Admin].map(|role| (role, service.client_as(role)));
    // The last use of a key is recorded asynchronously, once.
    roles.iter().for_each(|(_, client)| drop(client.get("me").expect(200)));
    let unnoted = "SELECT count(*)::text FROM api_keys k JOIN businesses b ON b.id = k.business_id
                   WHERE b.slug = 'acme' AND k.name = 'test' AND k.last_used_at IS NULL";
    let began = std::time::Instant::now();
    while service.database.ask(unnoted) != "0" {
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "a use that is never noted");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let before = checksum(&service.database, service.business);
    let mut tried = 0;
    for operation in &operations {
        let name = &operation.name;
        for (who, client) in &strangers {
            assert_eq!(operation.call(client).status, 401, "{name} with {who}");
        }
        for (who, client) in [("a neighbour's key", &neighbour), ("a neighbour's session", &next_door)] {
            let status = operation.call(client).status;
            // Callers may see their own lists and figures; a path with another business's row gives 404.
            let foreign = ["{id}", "/batch/update", "/batch/delete"].iter().any(|part| name.contains(part));
            assert!(!foreign || matches!(status, 403 | 404), "{name} with {who}: {status}");
        }
        for (role, client) in &roles {
            let refused = match operation.needs {
                Needs::Permission(area, action) => !role.may(area, action),
                Needs::Person => true,
                Needs::Nothing => false,
            };
            if refused {
                assert_eq!(operation.call(client).status, 403, "{name} with a key of {role}");
            }
            tried += usize::from(refused);
        }
        tried += strangers.len() + 2;
    }
    assert_eq!(checksum(&service.database, service.business), before);
    println!("{} operations, {tried} refusals", operations.len());
}
