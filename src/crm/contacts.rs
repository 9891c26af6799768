//! Contacts: the people that the business talks to.

use super::companies::COMPANIES;
use super::leads::LEADS;
use crate::auth::TenantSettings;
use crate::channels::conversations::CONVERSATIONS;
use crate::db::SqlValue;
use crate::identity::users::USERS;
use crate::resource::{Changeset, Field, FieldType, Hooks, Relation, Resource, Sort, ValidationErrors};
use crate::scheduling::bookings::BOOKINGS;

pub static CONTACTS: Resource = Resource {
    name: "contact",
    plural: "contacts",
    schema: "Contact",
    description: "The people that the business talks to. One needs a name, an e-mail address or a phone number at least.",
    table: "contacts",
    fields: &[
        Field::ID,
        Field::link("company_id", "The company they work for."),
        Field::text("first_name", 100, r#""Shelley""#, "Given name."),
        Field::text("last_name", 100, r#""Kerluke""#, "Family name."),
        Field::new("email", FieldType::Email, r#""shelley@example.com""#, "Unique in the business, whatever the case.")
            .filter()
            .fold_case()
            .unique(),
        Field::new("phone", FieldType::Phone, r#""+19553710847""#, "E.164 where it can be, else as written.").filter(),
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
    duplicate_check: Some(super::duplicates::check::refuse),
    static_routes: |scope| super::duplicates::http::routes(&CONTACTS, scope),
    routes: |scope| {
        super::privacy::http::routes(scope);
        super::merges::http::routes(&CONTACTS, scope);
    },
    ..Resource::BASE
};

/// Refuses a contact without any name, email address or phone number, and moves a phone extension into its own field.
fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    const ANY: [&str; 4] = ["first_name", "last_name", "email", "phone"];
    if change.creates && ANY.iter().all(|name| change.text(name).is_none()) {
        faults.required(&ANY, "Give at least one of first_name, last_name, email and phone.");
    }
    let phone = change.text("phone").unwrap_or_default().to_owned();
    if let Some((number, extension)) = phone.split_once(";ext=") {
        change.set("phone", SqlValue::Text(Some(number.to_owned())));
        change.set_default("phone_extension", SqlValue::Text(Some(extension.to_owned())));
    }
}
