//! The second wall between businesses, proven by taking the first one down: a build whose statements leave the tenant's
//! predicate out (`make prove-walls`).

use rapport::auth::Role;
use rapport::cache::mutants::WALLS;
use rapport::noun::{Kind, Written};
use rapport::nouns::NOUNS;
use serde_json::{Map, Value, json};

use crate::isolation::{checksum, nothing_crosses};
use crate::support::{Client, Program, Samples, Service, make_business, make_key};

/// A service without fault, and a neighbour's client of a process on the same database that runs the mutant.
struct World {
    service: Service,
    /// The neighbour, at the service without fault.
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
            ("RAPPORT_WORKERS", "1"),
            ("RAPPORT_DB_CONNECTIONS", "2"),
            ("RAPPORT_LOG", "error"),
            // What it does beside requests it does for every business.
            ("RAPPORT_WORKER", "off"),
            // So that people can be invited; their mails go nowhere.
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
fn with_reads_and_writes_walled_a_forgotten_predicate_shows_and_changes_nothing() {
    for (name, _) in WALLS {
        let world = World::begin(name, "all");
        nothing_crosses(&world.service, &world.neighbour);
        no_write_crosses(&World::begin(name, "all"));
    }
}

#[test]
fn with_writes_walled_a_forgotten_predicate_changes_nothing() {
    for (name, _) in WALLS {
        no_write_crosses(&World::begin(name, "writes"));
    }
}

/// What the two tests above would be worth if the mutant did no harm.
#[test]
fn without_the_wall_a_forgotten_predicate_shows_and_changes_everything() {
    for (name, _) in WALLS {
        let world = World::begin(name, "off");
        let mut samples = Samples::new(&world.service.client);
        for noun in NOUNS {
            let id = samples.id(noun);
            let body = json!({ "ids": [id] });
            let batch = world.neighbour.post(&format!("{}/batch/read", noun.path()), body).expect(200);
            assert!(batch.rows().len() == 1, "{name} harms no {}: {}", noun.path(), batch.text);
            let list = world.neighbour.get(&format!("{}?limit=500", noun.path())).expect(200);
            assert!(list.text.contains(&id), "{name} lists no {}", noun.path());
        }
        let lead = samples.id(&rapport::crm::leads::LEADS);
        let before = checksum(&world.service.database, world.service.business);
        world.neighbour.patch(&format!("leads/{lead}"), json!({ "title": "Mine" })).expect(200);
        assert_ne!(checksum(&world.service.database, world.service.business), before);
    }
}

fn no_write_crosses(world: &World) {
    let (mut samples, mut own) = (Samples::new(&world.service.client), Samples::new(&world.honest));
    let victims: Vec<Value> = NOUNS.iter().map(|noun| samples.row(noun)).collect();
    let before = checksum(&world.service.database, world.service.business);
    for (noun, victim) in NOUNS.iter().zip(&victims) {
        let path = format!("{}/{}", noun.path(), victim["id"].as_str().expect("an id"));
        if noun.operations.update {
            let mut change: Map<String, Value> = own.body(noun);
            change.retain(|name, _| {
                let field = noun.fields.iter().find(|field| field.name == *name).expect("a field");
                field.written == Written::Always && field.kind != Kind::Uuid
            });
            let refused = world.neighbour.patch(&path, Value::Object(change.clone()));
            assert_eq!(refused.status, 404, "PATCH {path} {change:?}: {}", refused.text);
        }
        if noun.operations.delete {
            world.neighbour.delete(&path).expect(404);
        }
        if noun.operations.batch {
            let id = &victim["id"];
            let batch = |act: &str| format!("{}/batch/{act}", noun.plural);
            let items = json!([{ "id": id, "metadata": { "mine": true } }]);
            world.neighbour.post(&batch("update"), json!({ "items": items })).expect(404);
            world.neighbour.post(&batch("delete"), json!({ "ids": [id] })).expect(404);
        }
        if noun.operations.restore {
            world.neighbour.post(&format!("{path}/restoration"), json!({})).expect(404);
        }
        // A row of one's own that leads to theirs.
        for field in noun.fields.iter().filter(|field| field.kind == Kind::Uuid && field.written != Written::Never) {
            let mut body: Map<String, Value> = own.body(noun);
            body.insert(field.name.to_owned(), victim[field.name].clone());
            world.neighbour.post(noun.path(), Value::Object(body)).expect(422);
        }
    }
    assert_eq!(checksum(&world.service.database, world.service.business), before);
}
