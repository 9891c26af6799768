//! Contact cards: people with their numbers and addresses, whom the customer can save (Meta, Cloud API, "Contacts messages").

use deserr::Deserr;
use serde_json::{Map, Value as Json, json};
use utoipa::ToSchema;

use crate::resource::FieldType;
use crate::resource::body::{BodyErrors, ValidationErrors, value_type};

/// Cards of a message. (WhatsApp takes 257, and advises against many.)
pub const MAX_CARDS: usize = 10;
/// Numbers of a card, and e-mail addresses.
const MAX_OF_CARD: usize = 10;

value_type! {
    /// A part of a name, or all of it.
    pub NameText(String): FieldType::Text { min: 1, max: 200 }, r#""Amina Reed""#;
    /// A phone number as people read it.
    pub CardNumber(String): FieldType::Text { min: 1, max: 40 }, r#""+44 7700 900123""#;
    /// A number as WhatsApp writes it, in digits: the card offers a chat with it.
    pub CardWaId(String): FieldType::Text { min: 5, max: 15 }, r#""447700900123""#;
    /// What it is for.
    pub CardUse(String): FieldType::Text { min: 1, max: 20 }, r#""WORK""#;
    /// An e-mail address.
    pub CardEmailAddress(String): FieldType::Email, r#""amina@reed.example""#;
}

/// The name of a card.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
pub struct CardName {
    /// As it is shown.
    formatted_name: NameText,
    /// The shown name when there is no other part.
    #[deserr(default)]
    first_name: Option<NameText>,
    #[deserr(default)]
    middle_name: Option<NameText>,
    #[deserr(default)]
    last_name: Option<NameText>,
    #[deserr(default)]
    prefix: Option<NameText>,
    #[deserr(default)]
    suffix: Option<NameText>,
}

/// A phone number of a card.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
pub struct CardPhone {
    phone: CardNumber,
    #[deserr(default, rename = "type")]
    #[schema(rename = "type")]
    kind: Option<CardUse>,
    #[deserr(default)]
    wa_id: Option<CardWaId>,
}

/// An e-mail address of a card.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
pub struct CardEmail {
    email: CardEmailAddress,
    #[deserr(default, rename = "type")]
    #[schema(rename = "type")]
    kind: Option<CardUse>,
}

/// A person whom the customer can save.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "name": { "formatted_name": "Amina Reed" }, "phones": [{ "phone": "+44 7700 900123", "wa_id": "447700900123" }] })))]
pub struct ContactCard {
    name: CardName,
    #[deserr(default)]
    #[schema(max_items = 10)]
    phones: Option<Vec<CardPhone>>,
    #[deserr(default)]
    #[schema(max_items = 10)]
    emails: Option<Vec<CardEmail>>,
}

/// Returns cards as a message's `payload`, as that of an inbound one is. Their faults are added to `faults`, below `contacts`.
pub fn payload(cards: Vec<ContactCard>, faults: &mut ValidationErrors) -> Json {
    if !(1..=MAX_CARDS).contains(&cards.len()) {
        faults.field("contacts", "out_of_range", format!("`contacts` has 1 to {MAX_CARDS}."));
    }
    for (place, card) in cards.iter().enumerate() {
        card.check(place, faults);
    }
    json!({ "contacts": cards.into_iter().map(ContactCard::json).collect::<Vec<_>>() })
}

impl ContactCard {
    fn check(&self, place: usize, faults: &mut ValidationErrors) {
        let counts = [("phones", self.phones.as_ref().map(Vec::len)), ("emails", self.emails.as_ref().map(Vec::len))];
        for (member, count) in counts {
            if count.is_some_and(|count| !(1..=MAX_OF_CARD).contains(&count)) {
                let detail = format!("`{member}` has 1 to {MAX_OF_CARD}, or is left out.");
                faults.at(format!("/contacts/{place}/{member}"), "out_of_range", detail);
            }
        }
        for (number, phone) in self.phones.iter().flatten().enumerate() {
            if phone.wa_id.as_ref().is_some_and(|CardWaId(id)| !id.bytes().all(|byte| byte.is_ascii_digit())) {
                let detail = "`wa_id` is a number with its country code, in digits only.".to_owned();
                faults.at(format!("/contacts/{place}/phones/{number}/wa_id"), "format", detail);
            }
        }
    }

    fn json(self) -> Json {
        let mut card = Map::from_iter([("name".to_owned(), self.name.json())]);
        let phones = self.phones.map(|phones| phones.into_iter().map(CardPhone::json).collect::<Vec<_>>());
        let emails = self.emails.map(|emails| emails.into_iter().map(CardEmail::json).collect::<Vec<_>>());
        card.extend(phones.map(|phones| ("phones".to_owned(), json!(phones))));
        card.extend(emails.map(|emails| ("emails".to_owned(), json!(emails))));
        Json::Object(card)
    }
}

impl CardName {
    /// With one part besides the whole name at least: WhatsApp refuses others.
    fn json(self) -> Json {
        let NameText(whole) = self.formatted_name;
        let parts = [
            ("first_name", self.first_name),
            ("middle_name", self.middle_name),
            ("last_name", self.last_name),
            ("prefix", self.prefix),
            ("suffix", self.suffix),
        ];
        let given = parts.into_iter().filter_map(|(member, part)| Some((member.to_owned(), json!(part?.0))));
        let mut name: Map<String, Json> = given.collect();
        if name.is_empty() {
            name.insert("first_name".to_owned(), json!(whole));
        }
        name.insert("formatted_name".to_owned(), json!(whole));
        Json::Object(name)
    }
}

impl CardPhone {
    fn json(self) -> Json {
        let mut phone = json!({ "phone": self.phone.0 });
        if let Some(CardUse(kind)) = self.kind {
            phone["type"] = json!(kind);
        }
        if let Some(CardWaId(id)) = self.wa_id {
            phone["wa_id"] = json!(id);
        }
        phone
    }
}

impl CardEmail {
    fn json(self) -> Json {
        let mut email = json!({ "email": self.email.0 });
        if let Some(CardUse(kind)) = self.kind {
            email["type"] = json!(kind);
        }
        email
    }
}
