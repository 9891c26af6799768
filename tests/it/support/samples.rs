//! Rows of any noun, made from its description: what the description says is enough must be enough.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use rapport::noun::{Arity, Field, Kind, Noun, Written};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Client;

pub struct Samples {
    client: Client,
    /// A row of each noun, to link to.
    known: HashMap<&'static str, String>,
    number: i64,
    /// Tells the people of one set from those of another: a person is one for all businesses.
    people: Uuid,
}

impl Samples {
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone(), known: HashMap::new(), number: 0, people: Uuid::now_v7() }
    }

    /// The id of some row of `noun`, the same at each call.
    pub fn some(&mut self, noun: &'static Noun) -> String {
        if let Some(id) = self.known.get(noun.plural) {
            return id.clone();
        }
        let id = self.id(noun);
        self.known.insert(noun.plural, id.clone());
        id
    }

    /// The id of a row of `noun` that nothing else uses, where the noun lets rows be made.
    pub fn id(&mut self, noun: &'static Noun) -> String {
        self.row(noun)["id"].as_str().expect("an id").to_owned()
    }

    /// A row of `noun` that nothing else uses, with every field that can be given.
    pub fn row(&mut self, noun: &'static Noun) -> Value {
        if noun.operations.create {
            let body = self.body(noun);
            return self.client.create(noun.path(), Value::Object(body));
        }
        if noun.plural == "merges" {
            // Made of two that are one; the newer one is left.
            let [other, one] = [(); 2].map(|()| self.id(&rapport::crm::contacts::CONTACTS));
            let merged = self.client.post(&format!("contacts/{one}/merge"), json!({ "from": [other] })).expect(201);
            return merged.json["merge"].clone();
        }
        if noun.plural == "imports" {
            let file = format!("Vorname,E-Mail\nAnna,anna{}@example.com\n", Uuid::now_v7());
            return self
                .client
                .upload("imports?noun=contacts&start=false&file_name=a.csv", "text/csv", file)
                .expect(201)
                .json;
        }
        if noun.plural == "memberships" {
            // Made along with a person.
            let user = self.row(&rapport::identity::users::USERS);
            let id = user["membership_id"].as_str().expect("a membership");
            return self.client.get(&format!("memberships/{id}")).expect(200).json;
        }
        self.client.get(noun.path()).expect(200).rows()[0].clone()
    }

    /// A body with every field that a caller may give when a row is made; links lead to rows that exist.
    pub fn body(&mut self, noun: &'static Noun) -> Map<String, Value> {
        self.number += 1;
        let given = noun.fields.iter().filter(|field| field.written != Written::Never);
        given.map(|field| (field.name.to_owned(), self.value(noun, field))).collect()
    }

    fn value(&mut self, noun: &'static Noun, field: &'static Field) -> Value {
        let number = self.number;
        let example: Value = serde_json::from_str(field.example).expect("an example is JSON");
        match field.kind {
            Kind::Uuid => json!(self.some(link_target(noun, field))),
            Kind::Email => json!(format!("sample{number}@{}.example", self.people)),
            Kind::Phone => json!(format!("+1955371{number:04}")),
            Kind::Domain => json!(format!("sample{number}.example")),
            // Unique where it has to be, within its limit.
            Kind::Text { max, .. } if max > 60 => {
                json!(format!("{}{number}", example.as_str().expect("a text").replace(',', "")))
            }
            // Bookings of one member of staff must not meet.
            Kind::Time => {
                let time: DateTime<Utc> = example.as_str().and_then(|text| text.parse().ok()).expect("a time");
                json!((time + Duration::days(number)).to_rfc3339())
            }
            _ => example,
        }
    }
}

/// The noun that a link of `noun` leads to: every link has a relation that shows it.
pub fn link_target(noun: &'static Noun, field: &Field) -> &'static Noun {
    noun.relations
        .iter()
        .find(|relation| relation.arity == Arity::One && relation.column == field.name)
        .unwrap_or_else(|| panic!("{}.{} has no relation", noun.plural, field.name))
        .noun
}
