//! Interactive messages: buttons, a list to choose from, or a link. Their limits are WhatsApp's (Meta, Cloud API, "Interactive messages").

use deserr::Deserr;
use serde_json::{Map, Value as Json, json};
use utoipa::ToSchema;

use crate::resource::FieldType;
use crate::resource::body::{BodyErrors, ValidationErrors, value_type};

const KINDS: &[&str] = &["buttons", "list", "link"];
const MAX_BUTTONS: usize = 3;
/// Of all sections together.
const MAX_ROWS: usize = 10;

value_type! {
    /// What is offered.
    pub InteractiveKind(String): FieldType::Choice(KINDS), r#""buttons""#;
    /// Text above or below the message.
    pub FrameText(String): FieldType::Text { min: 1, max: 60 }, r#""Reed Plumbing""#;
    /// What an answer names. It is not shown.
    pub ChoiceId(String): FieldType::Text { min: 1, max: 200 }, r#""slot:1""#;
    /// Text of a button.
    pub ButtonTitle(String): FieldType::Text { min: 1, max: 20 }, r#""Monday 09:00""#;
    /// Text of a row or section.
    pub RowTitle(String): FieldType::Text { min: 1, max: 24 }, r#""Monday 09:00""#;
    /// More about a row.
    pub RowDescription(String): FieldType::Text { min: 1, max: 72 }, r#""30 minutes, with Amina""#;
    /// Where a link leads.
    pub LinkUrl(String): FieldType::Text { min: 1, max: 2_000 }, r#""https://reed.example/book""#;
}

/// A button that answers.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
pub struct ReplyButton {
    id: ChoiceId,
    title: ButtonTitle,
}

/// A row of a list.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
pub struct ListRow {
    id: ChoiceId,
    title: RowTitle,
    #[deserr(default)]
    description: Option<RowDescription>,
}

/// A section of a list.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
pub struct ListSection {
    /// Required where there are several.
    #[deserr(default)]
    title: Option<RowTitle>,
    #[schema(min_items = 1, max_items = 10)]
    rows: Vec<ListRow>,
}

/// What a message offers to choose.
#[derive(Deserr, ToSchema)]
#[deserr(deny_unknown_fields, error = BodyErrors)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({ "type": "buttons", "buttons": [{ "id": "yes", "title": "Yes" }, { "id": "no", "title": "No" }] })))]
pub struct Interactive {
    #[deserr(rename = "type")]
    #[schema(rename = "type")]
    kind: InteractiveKind,
    /// Above the text.
    #[deserr(default)]
    header: Option<FrameText>,
    /// Below the text.
    #[deserr(default)]
    footer: Option<FrameText>,
    /// One to three, of `buttons`.
    #[deserr(default)]
    #[schema(max_items = 3)]
    buttons: Option<Vec<ReplyButton>>,
    /// What opens a `list`.
    #[deserr(default)]
    button: Option<ButtonTitle>,
    /// Of a `list`: ten rows at most in all.
    #[deserr(default)]
    #[schema(max_items = 10)]
    sections: Option<Vec<ListSection>>,
    /// Text of a `link`.
    #[deserr(default)]
    title: Option<ButtonTitle>,
    /// Where a `link` leads.
    #[deserr(default)]
    url: Option<LinkUrl>,
}

impl Interactive {
    /// Returns it as the message's `payload`. Its faults are added to `faults`, below `interactive`.
    pub fn payload(self, faults: &mut ValidationErrors) -> Json {
        let mut fault = |member: &str, code, detail: String| faults.at(format!("/interactive/{member}"), code, detail);
        let kind = self.kind.0;
        let given = [
            ("buttons", self.buttons.is_some(), "buttons"),
            ("button", self.button.is_some(), "list"),
            ("sections", self.sections.is_some(), "list"),
            ("title", self.title.is_some(), "link"),
            ("url", self.url.is_some(), "link"),
        ];
        for (member, is_given, of) in given {
            match (is_given, of == kind) {
                (true, false) => {
                    fault(member, "not_allowed", format!("`{member}` belongs to `{of}`, not to `{kind}`."))
                }
                (false, true) => fault(member, "required", format!("`{member}` is required with `{kind}`.")),
                _ => {}
            }
        }
        let mut payload = Map::from_iter([("type".to_owned(), json!(kind))]);
        let mut put = |name: &str, value: Option<Json>| {
            if let Some(value) = value {
                payload.insert(name.to_owned(), value);
            }
        };
        put("header", self.header.map(|FrameText(text)| json!(text)));
        put("footer", self.footer.map(|FrameText(text)| json!(text)));
        put("button", self.button.map(|ButtonTitle(text)| json!(text)));
        put("title", self.title.map(|ButtonTitle(text)| json!(text)));
        if let Some(LinkUrl(url)) = self.url {
            if !url.starts_with("https://") && !url.starts_with("http://") {
                fault("url", "format", "`url` begins with https:// or http://.".to_owned());
            }
            put("url", Some(json!(url)));
        }
        if let Some(buttons) = self.buttons {
            if !(1..=MAX_BUTTONS).contains(&buttons.len()) {
                fault("buttons", "out_of_range", format!("`buttons` has 1 to {MAX_BUTTONS}."));
            }
            if has_twice(buttons.iter().map(|button| &button.id.0)) {
                fault("buttons", "repeated", "Each button has an `id` of its own.".to_owned());
            }
            let buttons = buttons.into_iter().map(|button| json!({ "id": button.id.0, "title": button.title.0 }));
            put("buttons", Some(buttons.collect()));
        }
        if let Some(sections) = self.sections {
            let rows: usize = sections.iter().map(|section| section.rows.len()).sum();
            if sections.iter().any(|section| section.rows.is_empty()) || !(1..=MAX_ROWS).contains(&rows) {
                fault(
                    "sections",
                    "out_of_range",
                    format!("`sections` has 1 to {MAX_ROWS} rows in all, and each at least one."),
                );
            }
            if sections.len() > 1 && sections.iter().any(|section| section.title.is_none()) {
                fault("sections", "required", "Each of several sections has a `title`.".to_owned());
            }
            if has_twice(sections.iter().flat_map(|section| &section.rows).map(|row| &row.id.0)) {
                fault("sections", "repeated", "Each row has an `id` of its own.".to_owned());
            }
            put("sections", Some(sections.into_iter().map(section).collect()));
        }
        Json::Object(payload)
    }
}

fn section(section: ListSection) -> Json {
    let row = |row: ListRow| {
        let mut json = json!({ "id": row.id.0, "title": row.title.0 });
        if let Some(RowDescription(text)) = row.description {
            json["description"] = json!(text);
        }
        json
    };
    let mut json = json!({ "rows": section.rows.into_iter().map(row).collect::<Vec<_>>() });
    if let Some(RowTitle(title)) = section.title {
        json["title"] = json!(title);
    }
    json
}

fn has_twice<'i>(ids: impl Iterator<Item = &'i String>) -> bool {
    let mut ids: Vec<&String> = ids.collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    ids.len() < all
}
