//! Companies: the organisations that contacts work for and leads come from.

use crate::db::schema::{companies, contacts, leads};
use crate::resource::{Field, FieldType, Relation, Resource, Sort, row_type};

const SIZES: &[&str] = &["1-10", "11-50", "51-200", "201-1000", "1001+"];

pub static COMPANIES: Resource = Resource {
    name: "company",
    plural: "companies",
    schema: "Company",
    description: "The organisations that contacts work for and leads come from.",
    table: "companies",
    fields: &[
        Field::id(companies::id),
        Field::text(companies::name, 200, r#""Brekke, Dietrich and Klein""#, "Its name.").required(),
        Field::new(
            companies::domain,
            FieldType::Domain,
            r#""brekke.example""#,
            "Its web domain; unique in the business, whatever the case.",
        )
        .filter()
        .fold_case()
        .unique(),
        Field::text(companies::industry, 100, r#""Architecture""#, "What it does.").filter(),
        Field::choice(companies::size, SIZES, r#""11-50""#, "How many people work there."),
        Field::new(companies::phone, FieldType::Phone, r#""+4930901820""#, "E.164 where it can be, else as written."),
        Field::text(companies::address, 500, r#""Torstraße 1, 10119 Berlin""#, "Where it is."),
        Field::link(companies::owner_id, "The member who looks after it."),
        Field::external_id(companies::external_id),
        Field::tags(companies::tags),
        Field::metadata(companies::metadata),
        Field::version(companies::version),
        Field::created_at(companies::created_at),
        Field::updated_at(companies::updated_at),
    ],
    relations: &[
        Relation::one("owner", "users", companies::owner_id, "The member who looks after it."),
        Relation::many("contacts", "contacts", contacts::company_id, "-created_at", "Its newest contacts."),
        Relation::many("leads", "leads", leads::company_id, "-created_at", "Its newest leads."),
    ],
    sorts: &[
        Sort::column(companies::created_at),
        Sort::column(companies::updated_at),
        Sort::text("name", "lower(t.name)"),
    ],
    ..Resource::BASE
};

row_type!(CompanyRow of COMPANIES);
