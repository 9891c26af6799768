//! Notes: free text about a lead, a contact, a company, a conversation or a booking.

use crate::db::schema::notes;
use crate::resource::{Field, FieldType, Relation, Resource, RowVisibility, Search, Sort, VisibilityLink};

pub static NOTES: Resource = Resource {
    name: "note",
    plural: "notes",
    schema: "Note",
    description: "What someone wrote down about a lead, a person, a company, a conversation or a booking.",
    table: "notes",
    fields: &[
        Field::id(notes::id),
        Field::text(notes::body, 20_000, r#""Prefers to be called in the morning.""#, "The note.").required(),
        Field::new(notes::pinned, FieldType::Bool, "false", "Whether it is shown first.").default("false").filter(),
        Field::link(notes::author_id, "The member who wrote it."),
        Field::link(notes::lead_id, "The lead it is about."),
        Field::link(notes::contact_id, "The person it is about."),
        Field::link(notes::company_id, "The company it is about."),
        Field::link(notes::conversation_id, "The conversation it is about."),
        Field::link(notes::booking_id, "The booking it is about."),
        Field::external_id(notes::external_id),
        Field::metadata(notes::metadata),
        Field::version(notes::version),
        Field::created_at(notes::created_at),
        Field::updated_at(notes::updated_at),
    ],
    relations: &[
        Relation::one("author", "users", notes::author_id, "The member who wrote it."),
        Relation::one("lead", "leads", notes::lead_id, "The lead it is about."),
        Relation::one("contact", "contacts", notes::contact_id, "The person it is about."),
        Relation::one("company", "companies", notes::company_id, "The company it is about."),
        Relation::one("conversation", "conversations", notes::conversation_id, "The conversation it is about."),
        Relation::one("booking", "bookings", notes::booking_id, "The booking it is about."),
    ],
    sorts: &[Sort::column(notes::created_at)],
    search: Search::Words,
    visibility: RowVisibility::linked(&[
        VisibilityLink::new(notes::lead_id, "leads"),
        VisibilityLink::new(notes::conversation_id, "conversations"),
    ]),
    ..Resource::BASE
};
