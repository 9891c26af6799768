//! Notes: free text about a lead, a contact, a company, a conversation or a booking.

use crate::resource::{Field, FieldType, Relation, Resource, RowVisibility, Search, Sort};

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
        Relation::one("author", "users", "author_id", "The member who wrote it."),
        Relation::one("lead", "leads", "lead_id", "The lead it is about."),
        Relation::one("contact", "contacts", "contact_id", "The person it is about."),
        Relation::one("company", "companies", "company_id", "The company it is about."),
        Relation::one("conversation", "conversations", "conversation_id", "The conversation it is about."),
        Relation::one("booking", "bookings", "booking_id", "The booking it is about."),
    ],
    sorts: &[Sort::time("created_at", "t.created_at")],
    search: Search::Words,
    visibility: RowVisibility::Linked(&[("lead_id", "leads"), ("conversation_id", "conversations")]),
    ..Resource::BASE
};
