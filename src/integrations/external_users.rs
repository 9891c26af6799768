//! External users: people of another system, such as Monday.com, and which member each of them is here.

use crate::auth::Area;
use crate::db::schema::external_users;
use crate::resource::{Field, FieldType, Relation, Resource, Sort};

pub static EXTERNAL_USERS: Resource = Resource {
    name: "external_user",
    plural: "external-users",
    schema: "ExternalUser",
    description: "People of another system, such as Monday.com, and which member each of them is here.",
    table: "external_users",
    area: Area::Business,
    fields: &[
        Field::id(external_users::id),
        Field::text(external_users::external_id, 200, r#""48213377""#, "Its id there; unique in the business.")
            .required()
            .filter()
            .unique(),
        Field::text(external_users::source, 100, r#""monday""#, "The system.").impersonal(),
        Field::text(external_users::name, 200, r#""Amina Diallo""#, "The name there.").required(),
        Field::new(external_users::email, FieldType::Email, r#""amina@example.com""#, "The address there."),
        Field::text(external_users::title, 200, r#""Account manager""#, "What they do."),
        Field::new(external_users::active, FieldType::Bool, "true", "Whether they still work there.").default("true"),
        Field::link(external_users::user_id, "The member who this is here."),
        Field::metadata(external_users::metadata),
        Field::version(external_users::version),
        Field::created_at(external_users::created_at),
        Field::updated_at(external_users::updated_at),
    ],
    relations: &[Relation::one("user", "users", external_users::user_id, "The member who this is here.")],
    sorts: &[Sort::column(external_users::created_at), Sort::text("name", "lower(t.name)")],
    ..Resource::BASE
};
