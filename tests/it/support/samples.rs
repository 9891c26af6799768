//! Sample rows of any resource, made from its definition.

use std::collections::HashMap;

use chrono::{DateTime, Duration, NaiveDate, Utc};
use rapport::app::registry::MODULES;
use rapport::resource::{Cardinality, Field, FieldType, Mutability, Resource, ResourceModule};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Client, until, whatsapp};

/// Resources whose rows only channels write.
const WRITTEN_BY_CHANNELS: [&str; 4] =
    ["message-reactions", "inbound-updates", "contact-identities", "duplicate-proposals"];

pub struct Samples {
    client: Client,
    /// A row of each resource, to reference.
    known: HashMap<&'static str, String>,
    number: i64,
    /// Distinguishes the users of one set from those of another: users are shared by all businesses.
    people: Uuid,
}

impl Samples {
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone(), known: HashMap::new(), number: 0, people: Uuid::now_v7() }
    }

    /// The id of some row of `resource`, the same on each call.
    pub fn some(&mut self, resource: &'static Resource) -> String {
        if let Some(id) = self.known.get(resource.plural) {
            return id.clone();
        }
        let id = self.id(resource);
        self.known.insert(resource.plural, id.clone());
        id
    }

    /// The id of an unused row of `resource`, if the resource allows creating rows.
    pub fn id(&mut self, resource: &'static Resource) -> String {
        self.row(resource)["id"].as_str().expect("an id").to_owned()
    }

    /// An unused row of `resource`, with every field that can be set.
    pub fn row(&mut self, resource: &'static Resource) -> Value {
        if resource.operations.create {
            let body = self.body(resource);
            // Names that differ by a number only look the same.
            let guard = if module_of(resource).duplicate_check.is_some() { "?allow_duplicate=true" } else { "" };
            return self.client.create(&format!("{}{guard}", resource.path()), Value::Object(body));
        }
        if resource.plural == "merges" {
            // Merged from two contacts; the newer one survives.
            let [other, one] = [(); 2].map(|()| self.id(&rapport::crm::contacts::CONTACTS));
            let merged = self.client.post(&format!("contacts/{one}/merge"), json!({ "from": [other] })).expect(201);
            return merged.json["merge"].clone();
        }
        if WRITTEN_BY_CHANNELS.contains(&resource.plural) {
            self.receive();
        }
        if resource.plural == "message-attempts" {
            self.send();
        }
        if resource.plural == "attachments" {
            return self.client.upload("attachments?file_name=a.png", "image/png", vec![1, 2, 3]).expect(201).json;
        }
        if resource.plural == "templates" {
            let loopback = self.client.make("channels", json!({ "kind": "loopback", "name": "Trial" }));
            self.client.post(&format!("channels/{loopback}/template-sync"), Value::Null).expect(202);
            return self.client.get(&format!("templates?channel_id={loopback}")).expect(200).rows()[0].clone();
        }
        if resource.plural == "imports" {
            let file = format!("Vorname,E-Mail\nAnna,anna{}@example.com\n", Uuid::now_v7());
            return self
                .client
                .upload("imports?resource=contacts&start=false&file_name=a.csv", "text/csv", file)
                .expect(201)
                .json;
        }
        if ["conversation-labels", "read-positions"].contains(&resource.plural) {
            return self.of_inbox(resource);
        }
        if resource.plural == "memberships" {
            // Created together with a user.
            let user = self.row(&rapport::identity::users::USERS);
            let id = user["membership_id"].as_str().expect("a membership");
            return self.client.get(&format!("memberships/{id}")).expect(200).json;
        }
        self.client.get(resource.path()).expect(200).rows()[0].clone()
    }

    /// Queues a message to a loopback.
    fn send(&mut self) {
        let channel = self.client.make("channels", json!({ "kind": "loopback", "name": "Trying out" }));
        self.number += 1;
        let unique = self.people.as_u128() % 10_u128.pow(8) + self.number as u128;
        let talk = json!({ "channel": "whatsapp", "channel_id": channel, "address": format!("+4917{unique:09}") });
        let thread = self.client.make("conversations", talk);
        self.client.create(&format!("conversations/{thread}/messages"), json!({ "body": "Hi" }));
    }

    /// A label of a conversation, or how far a member has read in it.
    fn of_inbox(&mut self, resource: &'static Resource) -> Value {
        let thread = self.id(&rapport::channels::conversations::CONVERSATIONS);
        if resource.plural == "conversation-labels" {
            let label = self.id(&rapport::channels::labels::LABELS);
            self.client.put(&format!("conversations/{thread}/labels/{label}"), json!({})).expect(200);
        } else {
            let user = self.id(&rapport::identity::users::USERS);
            let position = format!("conversations/{thread}/read-position");
            self.client.put(&position, json!({ "user_id": user })).expect(200);
        }
        self.client.get(&format!("{}?conversation_id={thread}", resource.plural)).expect(200).rows()[0].clone()
    }

    /// Has a number of WhatsApp receive what makes a row of each resource that channels write: a message with a reaction, a status of an
    /// unknown message, and a change to the number of another contact.
    fn receive(&mut self) {
        let row = self.row(&rapport::channels::channels::CHANNELS);
        let number = row["phone_number_id"].as_str().expect("a number");
        self.number += 1;
        let unique = self.people.as_u128() % 10_u128.pow(8) + self.number as u128;
        let [from, to] = ["4915", "4916"].map(|area| format!("{area}{unique:09}"));
        self.client.create("contacts", json!({ "first_name": "Same", "phone": format!("+{to}") }));
        let id = |kind: &str| format!("wamid.{kind}{unique}");
        let message = |kind: &str, more: Value| {
            let mut message =
                json!({ "id": id(kind), "from": from, "timestamp": whatsapp::AT.to_string(), "type": kind });
            message.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            message
        };
        let value = json!({
            "messages": [
                message("text", json!({ "text": { "body": "Hi" } })),
                message("reaction", json!({ "reaction": { "message_id": id("text"), "emoji": "👍" } })),
                message("system", json!({ "system": { "type": "user_changed_number", "wa_id": to, "body": "changed" } })),
            ],
            "statuses": [{ "id": id("unknown"), "status": "read", "timestamp": whatsapp::AT.to_string() }],
        });
        whatsapp::post(&self.client, &whatsapp::body(number, &value)).expect(200);
        // Statuses are applied last; on a busy machine that is after the acknowledgement.
        let last = format!("inbound-updates?waits_for={}", id("unknown"));
        until("all is applied", || !self.client.get(&last).expect(200).rows().is_empty());
    }

    /// A body with every field that a caller may set on create; references point to existing rows.
    pub fn body(&mut self, resource: &'static Resource) -> Map<String, Value> {
        self.number += 1;
        let given = resource.fields.iter().filter(|field| field.mutability != Mutability::ReadOnly);
        given.map(|field| (field.name.to_owned(), self.value(resource, field))).collect()
    }

    fn value(&mut self, resource: &'static Resource, field: &'static Field) -> Value {
        let number = self.number;
        let example: Value = serde_json::from_str(field.example).expect("an example is JSON");
        match field.field_type {
            // Once for each member of staff.
            FieldType::Uuid if resource.plural == "staff-services" && field.name == "service_id" => {
                json!(self.id(link_target(resource, field)))
            }
            FieldType::Uuid => json!(self.some(link_target(resource, field))),
            FieldType::Email => json!(format!("sample{number}@{}.example", self.people)),
            FieldType::Phone => json!(format!("+1955371{number:04}")),
            FieldType::Domain => json!(format!("sample{number}.example")),
            // An id of Meta's, of one business only.
            FieldType::Text { .. } if field.name == "phone_number_id" => {
                json!(format!("{}{number}", self.people.as_u128() % 10_u128.pow(15)))
            }
            FieldType::Text { .. } if field.name.ends_with("_id") && resource.plural == "channels" => example,
            // Unique where required, within the length limit.
            FieldType::Text { max, .. } if max > 60 || field.unique => {
                json!(format!("{}{number}", example.as_str().expect("a text").replace(',', "")))
            }
            // Rates differ by their first day; a calendar has one day off, or of other hours, on each day.
            FieldType::Date if ["message-rates", "schedule-overrides", "holidays"].contains(&resource.plural) => {
                let day: NaiveDate = example.as_str().and_then(|text| text.parse().ok()).expect("a day");
                json!(day + Duration::days(number))
            }
            // Bookings of one member of staff must not overlap.
            FieldType::Time => {
                let time: DateTime<Utc> = example.as_str().and_then(|text| text.parse().ok()).expect("a time");
                json!((time + Duration::days(number)).to_rfc3339())
            }
            _ => example,
        }
    }
}

/// What a resource has beside its definition.
pub fn module_of(resource: &Resource) -> &'static ResourceModule {
    MODULES.iter().find(|module| module.resource.plural == resource.plural).expect("a registered resource")
}

/// The resource that a reference of `resource` points to: every reference has a relation.
pub fn link_target(resource: &'static Resource, field: &Field) -> &'static Resource {
    resource
        .relations
        .iter()
        .find(|relation| relation.arity == Cardinality::One && relation.column == field.name)
        .unwrap_or_else(|| panic!("{}.{} has no relation", resource.plural, field.name))
        .resource()
}
