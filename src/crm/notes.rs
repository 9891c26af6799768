//! Notes: free text about a lead, a contact, a company, a conversation or a booking.

use super::companies::COMPANIES;
use super::contacts::CONTACTS;
use super::leads::LEADS;
use crate::channels::conversations::CONVERSATIONS;
use crate::identity::users::USERS;
use crate::resource::{Field, FieldType, Relation, Resource, RowVisibility, Search, Sort};
use crate::scheduling::bookings::BOOKINGS;

pub static NOTES: Resource = Resource {
    name: "note",
    plural: "notes",
    schema: "Note",
    description: "What someone wrote down about a lead, a person, a company, a conversation or a booking.",
    table: "notes",
    fields: &[
        Field::ID,
        Field::text("body", 20_000, r#""Prefers to be called in the morning.""#, "The note.").required(),
        Field::new("pinned", FieldType::Bool, "false", "Whether it is shown first.").default("false").filter(),
        Field::link("author_id", "The member who wrote it."),
        Field::link("lead_id", "The lead it is about."),
        Field::link("contact_id", "The person it is about."),
        Field::link("company_id", "The company it is about."),
        Field::link("conversation_id", "The conversation it is about."),
        Field::link("booking_id", "The booking it is about."),
        Field::EXTERNAL_ID,
        Field::METADATA,
        Field::VERSION,
        Field::CREATED_AT,
        Field::UPDATED_AT,
    ],
    relations: &[
        Relation::one("author", &USERS, "author_id", "The member who wrote it."),
        Relation::one("lead", &LEADS, "lead_id", "The lead it is about."),
        Relation::one("contact", &CONTACTS, "contact_id", "The person it is about."),
        Relation::one("company", &COMPANIES, "company_id", "The company it is about."),
        Relation::one("conversation", &CONVERSATIONS, "conversation_id", "The conversation it is about."),
        Relation::one("booking", &BOOKINGS, "booking_id", "The booking it is about."),
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::Words,
    visibility: RowVisibility::Linked(&[("lead_id", &LEADS), ("conversation_id", &CONVERSATIONS)]),
    ..Resource::BASE
};
