//! Contacts: the people that the business talks to.

use crate::auth::TenantSettings;
use crate::db::SqlValue;
use crate::resource::{Changeset, Field, FieldType, Hooks, Relation, Resource, Sort, ValidationErrors};

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
        Relation::one("company", "companies", "company_id", "The company they work for."),
        Relation::one("owner", "users", "owner_id", "The member who looks after them."),
        Relation::many("leads", "leads", "contact_id", "-created_at", "Their newest leads."),
        Relation::many(
            "conversations",
            "conversations",
            "contact_id",
            "-last_message_at",
            "Their latest conversations.",
        ),
        Relation::many("bookings", "bookings", "contact_id", "-starts_at", "Their latest bookings."),
    ],
    sorts: &[
        Sort::time("created_at", "t.created_at"),
        Sort::time("updated_at", "t.updated_at"),
        Sort::text("name", "t.sort_name"),
    ],
    hooks: Hooks { prepare, ..Hooks::NONE },
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
