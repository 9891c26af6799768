//! Contacts: the people that the business talks to.

use crate::auth::TenantSettings;
use crate::db::schema::{bookings, contacts, conversations, leads};
use crate::resource::{Changeset, Field, FieldType, Hooks, Relation, Resource, Sort, ValidationErrors, row_type};

pub static CONTACTS: Resource = Resource {
    name: "contact",
    plural: "contacts",
    schema: "Contact",
    description: "The people that the business talks to. One needs a name, an e-mail address or a phone number at least.",
    table: "contacts",
    fields: &[
        Field::id(contacts::id),
        Field::link(contacts::company_id, "The company they work for."),
        Field::text(contacts::first_name, 100, r#""Shelley""#, "Given name."),
        Field::text(contacts::last_name, 100, r#""Kerluke""#, "Family name."),
        Field::new(
            contacts::email,
            FieldType::Email,
            r#""shelley@example.com""#,
            "Unique in the business, whatever the case.",
        )
        .filter()
        .fold_case()
        .unique(),
        Field::new(contacts::phone, FieldType::Phone, r#""+19553710847""#, "E.164 where it can be, else as written.")
            .filter(),
        Field::text(
            contacts::phone_extension,
            20,
            r#""371""#,
            "Taken off the phone number where one was written with it.",
        ),
        Field::text(contacts::title, 200, r#""Head of Sales""#, "What they do."),
        Field::link(contacts::owner_id, "The member who looks after them."),
        Field::external_id(contacts::external_id),
        Field::tags(contacts::tags),
        Field::metadata(contacts::metadata),
        Field::version(contacts::version),
        Field::created_at(contacts::created_at),
        Field::updated_at(contacts::updated_at),
    ],
    relations: &[
        Relation::one("company", "companies", contacts::company_id, "The company they work for."),
        Relation::one("owner", "users", contacts::owner_id, "The member who looks after them."),
        Relation::many("leads", "leads", leads::contact_id, "-created_at", "Their newest leads."),
        Relation::many(
            "conversations",
            "conversations",
            conversations::contact_id,
            "-last_message_at",
            "Their latest conversations.",
        ),
        Relation::many("bookings", "bookings", bookings::contact_id, "-starts_at", "Their latest bookings."),
    ],
    sorts: &[Sort::column(contacts::created_at), Sort::column(contacts::updated_at), Sort::text("name", "t.sort_name")],
    hooks: Hooks { prepare, ..Hooks::NONE },
    ..Resource::BASE
};

row_type!(ContactRow of CONTACTS);

/// Refuses a contact without any name, email address or phone number, and moves a phone extension into its own field.
fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    let names = [change.text(contacts::first_name), change.text(contacts::last_name)];
    let addresses = [change.text(contacts::email), change.text(contacts::phone)];
    if change.creates && names.iter().chain(&addresses).all(Option::is_none) {
        faults.required(
            &["first_name", "last_name", "email", "phone"],
            "Give at least one of first_name, last_name, email and phone.",
        );
    }
    let phone = change.text(contacts::phone).unwrap_or_default().to_owned();
    if let Some((number, extension)) = phone.split_once(";ext=") {
        change.set(contacts::phone, number);
        change.set_default(contacts::phone_extension, extension);
    }
}
