//! Identities of contacts: by what names channels know a person.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::db::schema::contact_identities;
use crate::resource::{Field, Operations, Relation, Resource, Search, Sort};

const KINDS: &[&str] = &["wa_id", "phone", "user_id", "parent_user_id", "username", "group"];
const TRUST: &[&str] = &["verified", "claimed"];

pub static CONTACT_IDENTITIES: Resource = Resource {
    name: "contact_identity",
    plural: "contact-identities",
    schema: "ContactIdentity",
    description: "By what names channels know contacts: numbers, ids of users, usernames; former ones, too. Channels write them.",
    table: "contact_identities",
    fields: &[
        Field::id(contact_identities::id),
        Field::link(contact_identities::contact_id, "Whose it is; null for a group.").read_only(),
        Field::choice(
            contact_identities::kind,
            KINDS,
            r#""wa_id""#,
            "`wa_id`: a number as WhatsApp writes it; `user_id`: WhatsApp's id of a person for one business.",
        )
        .read_only()
        .not_null(),
        Field::text(
            contact_identities::scope,
            100,
            r#""506914307656634""#,
            "Within what it is unique: a business portfolio, or nothing.",
        )
        .read_only()
        .not_null(),
        Field::text(contact_identities::value, 255, r#""4915112345678""#, "The name itself.")
            .read_only()
            .not_null()
            .filter(),
        Field::choice(
            contact_identities::trust,
            TRUST,
            r#""verified""#,
            "`verified`: the channel says so; `claimed`: the person does.",
        )
        .read_only()
        .not_null(),
        Field::text(
            contact_identities::profile_name,
            200,
            r#""Isla Reed""#,
            "The name that the person shows on the channel.",
        )
        .read_only(),
        Field::time(
            contact_identities::marketing_opted_out_at,
            "When the person stopped the business' marketing messages, as WhatsApp has told last; null: they may be sent. Templates of the category \
             `marketing` are refused until the person resumes them.",
        )
        .read_only(),
        Field::time(contact_identities::superseded_at, "When another took its place.").read_only(),
        Field::version(contact_identities::version),
        Field::created_at(contact_identities::created_at),
        Field::updated_at(contact_identities::updated_at),
    ],
    relations: &[Relation::one("contact", "contacts", contact_identities::contact_id, "Whose it is.")],
    sorts: &[Sort::column(contact_identities::created_at)],
    search: Search::None,
    operations: Operations::NONE,
    ..Resource::BASE
};

/// The hash of a name of a person, for one business: by it, what channels delivered about someone who is erased is found.
pub fn person_hash(business: Uuid, name: &str) -> String {
    hex::encode(Sha256::new_with_prefix(business.as_bytes()).chain_update(name).finalize())
}
