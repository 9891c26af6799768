//! Proposals of duplicates: pairs of contacts that a channel found to be one person. People decide.

use crate::db::schema::duplicate_proposals;
use crate::resource::{Field, Operations, Relation, Resource, Search, Sort};

const STATUSES: &[&str] = &["open", "dismissed", "merged"];

pub static DUPLICATE_PROPOSALS: Resource = Resource {
    name: "duplicate_proposal",
    plural: "duplicate-proposals",
    schema: "DuplicateProposal",
    description: "Pairs of contacts that may be one person, as a channel found: nothing is merged unasked. Merge them, or dismiss the proposal.",
    table: "duplicate_proposals",
    fields: &[
        Field::id(duplicate_proposals::id),
        Field::link(duplicate_proposals::contact_id, "The contact that the channel's message went to.")
            .read_only()
            .not_null(),
        Field::link(duplicate_proposals::other_id, "The contact that may be the same person.").read_only().not_null(),
        Field::text(duplicate_proposals::reason, 500, r#""Both are reached at one number.""#, "Why.")
            .read_only()
            .not_null(),
        Field::choice(duplicate_proposals::status, STATUSES, r#""dismissed""#, "`merged` once both are one contact.")
            .default(r#""open""#),
        Field::version(duplicate_proposals::version),
        Field::created_at(duplicate_proposals::created_at),
        Field::updated_at(duplicate_proposals::updated_at),
    ],
    relations: &[
        Relation::one("contact", "contacts", duplicate_proposals::contact_id, "The contact that the message went to."),
        Relation::one("other", "contacts", duplicate_proposals::other_id, "The contact that may be the same person."),
    ],
    sorts: &[Sort::column(duplicate_proposals::created_at)],
    search: Search::None,
    operations: Operations { update: true, ..Operations::NONE },
    ..Resource::BASE
};
