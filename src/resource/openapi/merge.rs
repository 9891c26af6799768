//! Merges operations that are described on their handlers, by `#[utoipa::path]`, into the OpenAPI document.

use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::{Components, OpenApi, RefOr, Required, Schema};

/// Merges the operations and schemas of `own`. Of two schemas with the same name the document keeps its own.
pub fn merge(api: &mut OpenApi, mut own: OpenApi) {
    let components = own.components.take().unwrap_or_default();
    for operation in own.paths.paths.values_mut().filter_map(|item| item.post.as_mut()) {
        if let Some(RefOr::T(body)) = &mut operation.request_body
            && !requires_a_member(body, &components)
        {
            // Nothing counts as an object without members.
            body.required = Some(Required::False);
        }
    }
    own.components = Some(components);
    api.merge(own);
}

/// Whether a body of JSON is an object with a required member.
fn requires_a_member(body: &RequestBody, components: &Components) -> bool {
    let Some(RefOr::T(content)) = body.content.get("application/json") else { return true };
    let schema = match &content.schema {
        Some(RefOr::Ref(to)) => to.ref_location.rsplit('/').next().and_then(|name| components.schemas.get(name)),
        inline => inline.as_ref(),
    };
    !matches!(schema, Some(RefOr::T(Schema::Object(object))) if object.required.is_empty())
}
