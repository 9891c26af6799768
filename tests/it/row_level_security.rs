//! Tests row-level security by disabling the first protection: a build whose statements omit the tenant predicate
//! (`make test-rls`).

use rapport::app::registry::RESOURCES;
use rapport::auth::Role;
use rapport::base::mutants::TENANT_MUTANTS;
use rapport::resource::{FieldType, Mutability};
use serde_json::{Map, Value, json};

use crate::isolation::{checksum, nothing_crosses};
use crate::support::{Client, Program, Samples, Service, make_business, make_key};

/// A correct service, and a neighbour's client of a process with the mutant on the same database.
struct World {
    service: Service,
    /// The neighbour's client of the correct service.
    honest: Client,
    neighbour: Client,
    _mutant: Program,
}

impl World {
    fn begin(mutant: &str, row_security: &str) -> Self {
        let service = Service::start();
        let other = make_business(&service.database, "neighbour");
        let key = make_key(&service.database, other, Role::Owner);
        let program = Program::serve(&[
            ("DATABASE_URL", &service.database.url),
            ("RAPPORT_MUTANT", mutant),
            ("RAPPORT_ROW_SECURITY", row_security),
            ("RAPPORT_HTTP_WORKERS", "1"),
            ("RAPPORT_DB_CONNECTIONS", "2"),
            ("RAPPORT_LOG", "error"),
            // Background tasks run for all businesses.
            ("RAPPORT_BACKGROUND_TASKS", "off"),
            // So that users can be invited; the emails are not delivered.
            ("RAPPORT_SMTP_URL", "smtp://127.0.0.1:9"),
            ("RAPPORT_MAIL_FROM", "Rapport <crm@example.com>"),
            ("RAPPORT_APP_URL", "http://localhost:3000"),
        ]);
        program.until_ready();
        let (honest, neighbour) = (Client::new(service.address, &key), program.client(&key));
        Self { service, honest, neighbour, _mutant: program }
    }
}

#[test]
fn rls_all_missing_tenant_predicate_leaks_nothing() {
    for (name, _) in TENANT_MUTANTS {
        let world = World::begin(name, "all");
        nothing_crosses(&world.service, &world.neighbour);
        no_write_crosses(&World::begin(name, "all"));
    }
}

#[test]
fn rls_writes_missing_tenant_predicate_changes_nothing() {
    for (name, _) in TENANT_MUTANTS {
        no_write_crosses(&World::begin(name, "writes"));
    }
}

/// Control: without row-level security the mutant does harm, so the two tests above prove something.
#[test]
fn rls_off_missing_tenant_predicate_leaks_and_changes() {
    for (name, _) in TENANT_MUTANTS {
        let world = World::begin(name, "off");
        let mut samples = Samples::new(&world.service.client);
        for resource in RESOURCES {
            let id = samples.id(resource);
            let body = json!({ "ids": [id] });
            let batch = world.neighbour.post(&format!("{}/batch/read", resource.path()), body).expect(200);
            assert!(batch.rows().len() == 1, "{name} harms no {}: {}", resource.path(), batch.text);
            let list = world.neighbour.get(&format!("{}?limit=500", resource.path())).expect(200);
            assert!(list.text.contains(&id), "{name} lists no {}", resource.path());
        }
        let lead = samples.id(&rapport::crm::leads::LEADS);
        let before = checksum(&world.service.database, world.service.business);
        world.neighbour.patch(&format!("leads/{lead}"), json!({ "title": "Mine" })).expect(200);
        assert_ne!(checksum(&world.service.database, world.service.business), before);
    }
}

fn no_write_crosses(world: &World) {
    let (mut samples, mut own) = (Samples::new(&world.service.client), Samples::new(&world.honest));
    let victims: Vec<Value> = RESOURCES.iter().map(|resource| samples.row(resource)).collect();
    let before = checksum(&world.service.database, world.service.business);
    for (resource, victim) in RESOURCES.iter().zip(&victims) {
        let path = format!("{}/{}", resource.path(), victim["id"].as_str().expect("an id"));
        if resource.operations.update {
            let mut change: Map<String, Value> = own.body(resource);
            change.retain(|name, _| {
                let field = resource.fields.iter().find(|field| field.name == *name).expect("a field");
                field.mutability == Mutability::Always && field.field_type != FieldType::Uuid
            });
            let refused = world.neighbour.patch(&path, Value::Object(change.clone()));
            assert_eq!(refused.status, 404, "PATCH {path} {change:?}: {}", refused.text);
        }
        if resource.operations.delete {
            world.neighbour.delete(&path).expect(404);
        }
        if resource.operations.batch {
            let id = &victim["id"];
            let batch = |act: &str| format!("{}/batch/{act}", resource.plural);
            let items = json!([{ "id": id, "metadata": { "mine": true } }]);
            world.neighbour.post(&batch("update"), json!({ "items": items })).expect(404);
            world.neighbour.post(&batch("delete"), json!({ "ids": [id] })).expect(404);
        }
        if resource.operations.restore {
            world.neighbour.post(&format!("{path}/restoration"), json!({})).expect(404);
        }
        // A row of their own that references another business's row.
        for field in resource
            .fields
            .iter()
            .filter(|field| field.field_type == FieldType::Uuid && field.mutability != Mutability::ReadOnly)
        {
            let mut body: Map<String, Value> = own.body(resource);
            body.insert(field.name.to_owned(), victim[field.name].clone());
            world.neighbour.post(resource.path(), Value::Object(body)).expect(422);
        }
    }
    assert_eq!(checksum(&world.service.database, world.service.business), before);
}
