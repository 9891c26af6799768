//! A stored file that a message names by its attachment: `{"media": {"attachment_id": …}}`.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::channels::attachments::ATTACHMENTS;
use crate::channels::media::kinds::{self, MAX_FILE_BYTES};
use crate::channels::media::store;
use crate::channels::whatsapp::safe_file_name::safe_file_name;
use crate::db::schema::messages;
use crate::db::{SqlValue, Statement, Tx};
use crate::resource::{Changeset, ValidationErrors, select};

/// Where the request names it.
const POINTER: &str = "/media/attachment_id";

/// Takes the attachment that `media` names out of the members of a request.
pub fn take(members: &mut Map<String, Json>, faults: &mut ValidationErrors) -> Option<Uuid> {
    let media = members.get_mut("media")?.as_object_mut()?;
    let named = media.remove("attachment_id")?;
    let id = named.as_str().and_then(|id| Uuid::try_parse(id).ok());
    if !media.get("url").is_none_or(Json::is_null) {
        faults.at(POINTER.into(), "not_allowed", "A file has an `attachment_id` or a `url`, not both.".to_owned());
    } else if id.is_none() {
        faults.at(POINTER.into(), "format", "`attachment_id` is the id of an attachment, a UUID.".to_owned());
    }
    id
}

#[derive(QueryableByName)]
struct Attached {
    #[diesel(sql_type = Nullable<Text>)]
    file_name: Option<String>,
    #[diesel(sql_type = Text)]
    mime_type: String,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    #[diesel(sql_type = Text)]
    sha256: String,
}

/// Gives a message that is new the file that [`take`] found. Errors: 422 where there is none that the caller sees, or the channel does not
/// take it with a message of this kind. Queries: two, if it has one.
pub fn attach(tx: &mut Tx<'_>, tenant: &Tenant, change: &mut Changeset) -> Result<()> {
    let Some(id) = change.get(messages::attachment_id).and_then(SqlValue::as_uuid) else { return Ok(()) };
    let mut sql = Statement::new("SELECT t.file_name, t.mime_type, t.bytes, t.sha256 FROM attachments AS t");
    sql.append(select::tenant_predicate(&ATTACHMENTS, tenant)).sql(" AND t.id = ").bind(id).sql(" FOR KEY SHARE OF t");
    let found = sql.first::<Attached>(tx)?.ok_or_else(|| {
        refusal(
            "not_found",
            "There is no such attachment: upload the file with POST /attachments. Unused ones are deleted after a day."
                .into(),
        )
    })?;
    let kind = change.text(messages::kind).unwrap_or_default().to_owned();
    check(&kind, &found)?;
    let given = change.get(messages::media).map(SqlValue::to_json).unwrap_or_default();
    let name = given["file_name"].as_str().map(safe_file_name).or(found.file_name);
    let mut media = json!({ "mime_type": found.mime_type, "bytes": found.bytes, "sha256": found.sha256 });
    if let (Some(name), Json::Object(members)) = (name, &mut media) {
        members.insert("file_name".to_owned(), json!(name));
    }
    change.set(messages::media, media);
    change.set(messages::media_state, "stored");
    store::be_used(tx, tenant, id)
}

/// Checks what a channel takes. Errors: 422.
fn check(kind: &str, found: &Attached) -> Result<()> {
    let (types, most) = (kinds::sendable_types(kind), kinds::max_bytes(kind));
    if !types.contains(&found.mime_type.as_str()) {
        let detail = format!("The file is `{}`; a message of `{kind}` takes {}.", found.mime_type, types.join(", "));
        return Err(refusal("out_of_range", detail));
    }
    if found.bytes.unsigned_abs() > most {
        let detail = format!(
            "The file has {} bytes; a message of `{kind}` takes at most {most}, a `document` {MAX_FILE_BYTES}.",
            found.bytes
        );
        return Err(refusal("out_of_range", detail));
    }
    Ok(())
}

fn refusal(code: &'static str, detail: String) -> Error {
    Error::Invalid(vec![FieldError::new(POINTER, code, detail)])
}
