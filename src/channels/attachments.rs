//! Attachments: the files of messages. Their bytes are in parts beside them (`media/`).

use crate::db::schema::attachments;
use crate::resource::{Field, Operations, Relation, Resource, RowVisibility, Search, Sort, row_type};

pub static ATTACHMENTS: Resource = Resource {
    name: "attachment",
    plural: "attachments",
    schema: "Attachment",
    description: "Files of messages: those that customers sent, and those that members upload to send. `GET /messages/{id}/media` gives their \
            bytes. One goes with the last message that has it. Members who see only what is assigned to them see those that they uploaded.",
    table: "attachments",
    fields: &[
        Field::id(attachments::id),
        Field::text(attachments::file_name, 255, r#""offer.pdf""#, "What it is called.").read_only(),
        Field::text(attachments::mime_type, 127, r#""application/pdf""#, "Its media type.").read_only().not_null(),
        Field::int(attachments::bytes, 1, i64::MAX, "48123", "How large it is.").read_only().not_null(),
        Field::text(
            attachments::sha256,
            64,
            r#""9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08""#,
            "Its SHA-256, in hexadecimal.",
        )
        .read_only()
        .not_null(),
        Field::link(
            attachments::uploaded_by,
            "The member who uploaded it; null where a customer sent it, or a program uploaded it.",
        )
        .read_only(),
        Field::time(attachments::expires_at, "When it is deleted unless a message has it by then; null once one has.")
            .read_only(),
        Field::version(attachments::version),
        Field::created_at(attachments::created_at),
        Field::updated_at(attachments::updated_at),
    ],
    relations: &[Relation::one("uploader", "users", attachments::uploaded_by, "The member who uploaded it.")],
    sorts: &[Sort::column(attachments::created_at)],
    default_sort: "-created_at",
    search: Search::None,
    operations: Operations::NONE,
    // The message has entries; the name of a file is not kept longer than the file.
    audited: false,
    visibility: RowVisibility::assigned(attachments::uploaded_by),
    ..Resource::BASE
};

row_type!(AttachmentRow of ATTACHMENTS);
