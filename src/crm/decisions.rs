//! Decisions: what was decided about a lead, by whom, and why. They are added and never changed.

use super::conversations::CONVERSATIONS;
use super::leads::LEADS;
use crate::auth::Business;
use crate::identity::users::USERS;
use crate::noun::{Change, Faults, Field, Hooks, Kind, Noun, Operations, Relation, Search, Sort, Visible};

/// As a message's, without the contact: the other side decides nothing here.
const AUTHORS: &[&str] = &["user", "ai", "system"];

pub static DECISIONS: Noun = Noun {
    name: "decision",
    plural: "decisions",
    schema: "Decision",
    about: "What was decided about a lead, by whom, and why. Decisions are added and never changed.",
    table: "decisions",
    fields: &[
        Field::ID,
        Field::link("lead_id", "The lead it is about.").required().once(),
        Field::link("conversation_id", "The conversation that it was made on.").once(),
        Field::choice("author", AUTHORS, r#""ai""#, "Who decided.").default(r#""user""#).once(),
        Field::link("author_id", "The member who decided.").once(),
        Field::text("decision", 60, r#""qualify""#, "What was decided, in a word or two.").required().once().filter(),
        Field::text("reason", 2_000, r#""Asks for a date, and has a budget.""#, "Why.").once(),
        Field::int("score", 0, 100, "82", "How promising the lead was found.").once().filter(),
        Field::text("model", 100, r#""gpt-5-mini""#, "Which model decided, if one did.").once(),
        Field::new("confidence", Kind::Decimal, r#""0.870000""#, "How sure it was: 0 to 1, as a decimal.").once(),
        Field::new("payload", Kind::Object, r#"{"intent":"order"}"#, "What else belongs to it: any JSON object.")
            .default("{}")
            .once(),
        Field::VERSION,
        Field::CREATED_AT,
        // The same as when it was made, but for a person who was forgotten.
        Field { filter: false, ..Field::UPDATED_AT },
    ],
    relations: &[
        Relation::one("lead", &LEADS, "lead_id", "The lead it is about."),
        Relation::one("conversation", &CONVERSATIONS, "conversation_id", "The conversation that it was made on."),
        // Not `author`, which is a field that says what kind of author it was.
        Relation::one("author_user", &USERS, "author_id", "The member who decided."),
    ],
    sorts: &[Sort::time("created_at", "t.created_at"), Sort::int("score", "coalesce(t.score, 0)")],
    search: Search::None,
    operations: Operations { create: true, ..Operations::NONE },
    visible: Visible::Linked(&[("lead_id", &LEADS)]),
    hooks: Hooks { prepare, ..Hooks::NONE },
    ..Noun::BASE
};

fn prepare(change: &mut Change, _: &Business, faults: &mut Faults) {
    // Eight digits before the point may be zeros: what counts is the number.
    let confidence = change.text("confidence").and_then(|text| text.parse::<f64>().ok());
    if confidence.is_some_and(|confidence| confidence > 1.0) {
        faults.field("confidence", "out_of_range", "`confidence` must be from 0 to 1.");
    }
}
