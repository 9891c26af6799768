//! Contacts: the people that the business talks to.

use super::bookings::BOOKINGS;
use super::companies::COMPANIES;
use super::conversations::CONVERSATIONS;
use super::leads::LEADS;
use crate::auth::Business;
use crate::db::Value;
use crate::identity::users::USERS;
use crate::noun::{Change, Faults, Field, Hooks, Kind, Noun, Relation, Sort};

pub static CONTACTS: Noun = Noun {
    name: "contact",
    plural: "contacts",
    schema: "Contact",
    about: "The people that the business talks to. One needs a name, an e-mail address or a phone number at least.",
    table: "contacts",
    fields: &[
        Field::ID,
        Field::link("company_id", "The company they work for."),
        Field::text("first_name", 100, r#""Shelley""#, "Given name."),
        Field::text("last_name", 100, r#""Kerluke""#, "Family name."),
        Field::new("email", Kind::Email, r#""shelley@example.com""#, "Unique in the business, whatever the case.")
            .filter()
            .fold_case()
            .unique(),
        Field::new("phone", Kind::Phone, r#""+19553710847""#, "E.164 where it can be, else as written.").filter(),
        Field::text("phone_extension", 20, r#""371""#, "Taken off the phone number where one was written with it."),
        Field::text("title", 200, r#""Head of Sales""#, "What they do."),
        Field::link("owner_id", "The member who looks after them."),
        Field::EXTERNAL_ID,
        Field::TAGS,
        Field::METADATA,
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    relations: &[
        Relation::one("company", &COMPANIES, "company_id", "The company they work for."),
        Relation::one("owner", &USERS, "owner_id", "The member who looks after them."),
        Relation::many("leads", &LEADS, "contact_id", "-created_at", "Their newest leads."),
        Relation::many(
            "conversations",
            &CONVERSATIONS,
            "contact_id",
            "-last_message_at",
            "Their latest conversations.",
        ),
        Relation::many("bookings", &BOOKINGS, "contact_id", "-starts_at", "Their latest bookings."),
    ],
    sorts: &[
        Sort::time("created_at", "t.created_at"),
        Sort::time("updated_at", "t.updated_at"),
        Sort::text("name", "t.sort_name"),
    ],
    hooks: Hooks { prepare, ..Hooks::NONE },
    guard: Some(super::duplicates::guard::refuse),
    fixed: |scope| super::duplicates::http::routes(&CONTACTS, scope),
    routes: |scope| {
        super::privacy::http::routes(scope);
        super::merges::http::routes(&CONTACTS, scope);
    },
    ..Noun::BASE
};

/// A contact that nobody could find or reach again is refused; an extension moves into a field of its own.
fn prepare(change: &mut Change, _: &Business, faults: &mut Faults) {
    const ANY: [&str; 4] = ["first_name", "last_name", "email", "phone"];
    if change.creates && ANY.iter().all(|name| change.text(name).is_none()) {
        faults.required(&ANY, "Give at least one of first_name, last_name, email and phone.");
    }
    let phone = change.text("phone").unwrap_or_default().to_owned();
    if let Some((number, extension)) = phone.split_once(";ext=") {
        change.set("phone", Value::Text(Some(number.to_owned())));
        change.set_default("phone_extension", Value::Text(Some(extension.to_owned())));
    }
}
