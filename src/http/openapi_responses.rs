//! Parts of the OpenAPI document that all operations share: error responses, `Idempotency-Key`, schema helpers.

use serde_json::json;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{ContentBuilder, Header, HeaderBuilder, OpenApi, Ref, RefOr, Response, Schema};

use super::idempotency::{MAX_KEY_LEN, RETENTION};

/// Returns a reference to the schema `name`.
pub fn reference(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

/// Builds the schema of an integer with the format that holds `min` to `max`: without one, client generators use 32
/// bits for every integer.
pub fn integer(min: i64, max: i64) -> ObjectBuilder {
    let fits = i32::try_from(min).is_ok() && i32::try_from(max).is_ok();
    let format = if fits { KnownFormat::Int32 } else { KnownFormat::Int64 };
    ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(format)))
}

/// Builds the schema of a row count or of a position in a log: no upper bound worth documenting.
pub fn count(about: &str) -> ObjectBuilder {
    integer(0, i64::MAX).description(Some(about))
}

/// Appends the default value to the description `about`. Request schemas have no `default`: client generators then
/// treat the member as required.
pub fn with_default(about: &str, default: &str) -> String {
    let end = if about.is_empty() { "" } else { " " };
    format!("{about}{end}Default: `{default}`.")
}

/// Adds the error responses `statuses` to `operation`, and 429, which every operation can return.
pub fn problems(operation: OperationBuilder, statuses: &[u16]) -> OperationBuilder {
    let mut statuses: Vec<u16> = statuses.iter().copied().chain([429]).collect();
    statuses.sort_unstable();
    statuses.iter().fold(operation, |operation, status| {
        operation.response(status.to_string(), RefOr::Ref(Ref::from_response_name(problem(*status).0)))
    })
}

/// Statuses of error responses.
pub const PROBLEMS: [u16; 13] = [400, 401, 403, 404, 408, 409, 410, 412, 413, 415, 422, 429, 503];

/// Returns the component name of an error response, and the response.
pub fn problem(status: u16) -> (&'static str, Response) {
    let name = match status {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        408 => "RequestTimeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "PreconditionFailed",
        413 => "PayloadTooLarge",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        429 => "TooManyRequests",
        _ => "Unavailable",
    };
    let (code, about) = match status {
        400 => ("invalid_parameter", "The request is malformed: a parameter, the JSON, or a header."),
        401 => ("unauthenticated", "No good credential."),
        403 => ("forbidden", "The role does not allow it."),
        404 => ("not_found", "There is no such row, or it is not yours."),
        408 => ("request_timeout", "The body did not arrive in time."),
        409 => ("already_exists", "It would break a rule between rows, such as uniqueness."),
        410 => ("events_expired", "What was asked for is not kept any more."),
        412 => ("precondition_failed", "The row has changed since it was read."),
        413 => ("too_large", "The body is too large."),
        415 => ("unsupported_media_type", "The body is not JSON, or is compressed."),
        422 => ("invalid", "Fields are wrong; `errors` names all of them."),
        429 => (
            "rate_limited",
            "Too often: the quota of the credential, or of an address without one, is used up, or there were too many wrong \
             passwords. `Retry-After` says when to try again.",
        ),
        _ => (
            "busy",
            "Full, the database is away, or another transaction holds what is needed (`locked`). `Retry-After` says when to try again.",
        ),
    };
    let example = json!({
        "type": format!("urn:rapport:problem:{code}"), "title": about, "status": status, "detail": about,
        "code": code, "request_id": "01939d5e-6f3a-7b21-9c4e-3f8a1d2b5c79",
    });
    let content = ContentBuilder::new().schema(Some(reference("Problem"))).example(Some(example)).build();
    let answer = ResponseBuilder::new().description(about).content("application/problem+json", content);
    let headers: &[(&str, &str)] = if status == 429 { &LIMIT_HEADERS } else { &[] };
    let answer = headers.iter().fold(answer, |answer, (name, about)| answer.header(*name, text_header(about)));
    (name, answer.build())
}

/// Adds the `Idempotency-Key` header to every POST that needs a credential. `without` selects the paths that need no
/// key.
pub fn idempotency_key_header(api: &mut OpenApi, without: impl Fn(&str) -> bool) {
    let posts = api.paths.paths.iter_mut().filter(|(path, _)| !without(path));
    for operation in posts.filter_map(|(_, item)| item.post.as_mut()) {
        // An operation without authentication overrides `security`.
        if operation.security.is_some() {
            continue;
        }
        let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(MAX_KEY_LEN));
        let about = format!(
            "Names this request, best with a new UUID: sent again within {} hours with the same key and body, it is answered \
             as the first time and not done again (`Idempotency-Replayed: true`). With another body: 422 \
             `idempotency_key_reused`; while the first is being served: 409 `idempotency_in_progress`. Refusals are not \
             kept.",
            RETENTION.as_secs() / 3600
        );
        let key = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .description(Some(about))
            .schema(Some(Schema::from(text.build())))
            .example(Some(json!("5f3c1f0e-8f5e-4a52-9a3b-2f4f1f6f9b1d")));
        operation.parameters.get_or_insert_default().push(RefOr::T(key.build()));
        for status in [400, 409, 422] {
            let answer = || RefOr::Ref(Ref::from_response_name(problem(status).0));
            operation.responses.responses.entry(status.to_string()).or_insert_with(answer);
        }
    }
}

/// Rate limit headers of a response (draft-ietf-httpapi-ratelimit-headers).
const LIMIT_HEADERS: [(&str, &str); 3] = [
    ("Retry-After", "Seconds after which to try again."),
    (
        "RateLimit-Policy",
        "Whose requests are counted together, how many they may be (`q`), in how many seconds (`w`): `\"key\";q=6000;w=60`.",
    ),
    (
        "RateLimit",
        "How many may come now (`r`), and in how many seconds as many as can be (`t`): `\"key\";r=590;t=1`. On every answer that counts.",
    ),
];

fn text_header(about: &str) -> Header {
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    HeaderBuilder::new().schema(Some(text)).description(Some(about)).build()
}
