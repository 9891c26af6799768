//! Decisions: what was decided about a lead, by whom, and why. They are added and never changed.

use crate::auth::TenantSettings;
use crate::db::schema::decisions;
use crate::resource::{
    Changeset, Field, FieldType, Hooks, Operations, Relation, Resource, RowVisibility, Search, Sort, ValidationErrors,
    VisibilityLink, row_type,
};

/// The authors of messages without the contact, who decides nothing here.
const AUTHORS: &[&str] = &["user", "ai", "system"];

pub static DECISIONS: Resource = Resource {
    name: "decision",
    plural: "decisions",
    schema: "Decision",
    description: "What was decided about a lead, by whom, and why. Decisions are added and never changed.",
    table: "decisions",
    fields: &[
        Field::id(decisions::id),
        Field::link(decisions::lead_id, "The lead it is about.").required().once(),
        Field::link(decisions::conversation_id, "The conversation that it was made on.").once(),
        Field::choice(decisions::author, AUTHORS, r#""ai""#, "Who decided.").default(r#""user""#).once(),
        Field::link(decisions::author_id, "The member who decided.").once(),
        Field::text(decisions::decision, 60, r#""qualify""#, "What was decided, in a word or two.")
            .required()
            .once()
            .filter(),
        Field::text(decisions::reason, 2_000, r#""Asks for a date, and has a budget.""#, "Why.").once(),
        Field::int(decisions::score, 0, 100, "82", "How promising the lead was found.").once().filter(),
        Field::text(decisions::model, 100, r#""gpt-5-mini""#, "Which model decided, if one did.").once().impersonal(),
        Field::new(
            decisions::confidence,
            FieldType::Decimal,
            r#""0.870000""#,
            "How sure it was: 0 to 1, as a decimal.",
        )
        .once(),
        Field::new(
            decisions::payload,
            FieldType::Object,
            r#"{"intent":"order"}"#,
            "What else belongs to it: any JSON object.",
        )
        .default("{}")
        .once(),
        Field::version(decisions::version),
        Field::created_at(decisions::created_at),
        // The same as `created_at`, except after an erasure.
        Field { filter: false, ..Field::updated_at(decisions::updated_at) },
    ],
    relations: &[
        Relation::one("lead", "leads", decisions::lead_id, "The lead it is about."),
        Relation::one(
            "conversation",
            "conversations",
            decisions::conversation_id,
            "The conversation that it was made on.",
        ),
        // Not `author`, which is the field with the kind of author.
        Relation::one("author_user", "users", decisions::author_id, "The member who decided."),
    ],
    sorts: &[Sort::column(decisions::created_at), Sort::int("score", "coalesce(t.score, 0)")],
    search: Search::None,
    operations: Operations { create: true, ..Operations::NONE },
    visibility: RowVisibility::linked(&[VisibilityLink::new(decisions::lead_id, "leads")]),
    hooks: Hooks { prepare, ..Hooks::NONE },
    ..Resource::BASE
};

row_type!(DecisionRow of DECISIONS);

fn prepare(change: &mut Changeset, _: &TenantSettings, faults: &mut ValidationErrors) {
    // Compared as a number, since leading digits may be zeros.
    let confidence = change.text(decisions::confidence).and_then(|text| text.parse::<f64>().ok());
    if confidence.is_some_and(|confidence| confidence > 1.0) {
        faults.field("confidence", "out_of_range", "`confidence` must be from 0 to 1.");
    }
}
