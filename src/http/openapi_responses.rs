//! Parts of the OpenAPI document that all operations share: references, response headers, `Idempotency-Key`, schema
//! helpers.

use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Header, HeaderBuilder, OpenApi, Ref, RefOr, Response, Schema,
};

use super::idempotency::{MAX_KEY_LEN, RETENTION};

/// Returns a reference to the schema `name`.
pub fn reference(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

/// Returns a reference to the response `name`.
pub fn response_ref(name: &str) -> RefOr<Response> {
    RefOr::Ref(Ref::from_response_name(name))
}

/// Returns a response of the schema `schema` as JSON.
pub fn json_response(about: &str, schema: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(reference(schema))).build();
    ResponseBuilder::new().description(about).content("application/json", content).build()
}

/// Returns a reference to the header `name`.
pub fn header_ref(name: &str) -> Ref {
    Ref::new(format!("#/components/headers/{name}"))
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
    integer(0, i64::MAX).description(Some(about).filter(|about| !about.is_empty()))
}

/// Appends the default value to the description `about`. Request schemas have no `default`: client generators then
/// treat the member as required.
pub fn with_default(about: &str, default: &str) -> String {
    let end = if about.is_empty() { "" } else { " " };
    format!("{about}{end}Default: `{default}`.")
}

/// Adds the error response of `operation`; `statuses` are those that it can return besides 429 and 500.
pub fn problems(operation: OperationBuilder, statuses: &[u16]) -> OperationBuilder {
    statuses.iter().fold(operation, |operation, status| operation.response(status.to_string(), response_ref(PROBLEM)))
}

/// The statuses of error responses, and what they mean.
pub const PROBLEMS: [(u16, &str); 14] = [
    (400, "the request is malformed: a parameter, the JSON, or a header"),
    (401, "no good credential"),
    (403, "the role does not allow it"),
    (404, "there is no such row, or it is not yours"),
    (408, "the body did not arrive in time"),
    (409, "it would break a rule between rows, such as uniqueness"),
    (410, "what was asked for is not kept any more"),
    (412, "the row has changed since it was read"),
    (413, "the body is too large"),
    (415, "the body is not JSON, or is compressed"),
    (422, "fields are wrong; `errors` names all of them"),
    (
        429,
        "too often: the quota of the credential, or of an address without one, is used up, or there were too many wrong passwords",
    ),
    (500, "a fault of the service"),
    (503, "full, the database is away, or another transaction holds what is needed (`locked`)"),
];

/// The component name of the response with a problem, which is the same for all statuses.
pub const PROBLEM: &str = "Problem";

/// Returns the response with a problem.
pub fn problem() -> Response {
    let meanings: Vec<String> = PROBLEMS.iter().map(|(status, about)| format!("- {status}: {about}")).collect();
    let about = format!("An error, as a problem document.\n\n{}", meanings.join("\n"));
    let content = ContentBuilder::new().schema(Some(reference("Problem"))).build();
    let response = ResponseBuilder::new().description(about).content("application/problem+json", content);
    let response =
        LIMIT_HEADERS.iter().fold(response, |response, (name, about)| response.header(*name, text_header(about)));
    response.build()
}

const EXPORT: &str = "Every row that the parameters leave, as CSV with a header line (`include` adds columns such as `company.name`) \
    or as one JSON object a line, streamed while it is read. A text that a spreadsheet would take for a formula begins with an \
    apostrophe. Rows that change while it runs are as they were when their page was read; when the credential ends, so does the \
    file, without its last chunk.";

/// Rate limit headers of a response (draft-ietf-httpapi-ratelimit-headers).
const LIMIT_HEADERS: [(&str, &str); 3] = [
    ("Retry-After", "With 429 and 503: seconds after which to try again."),
    (
        "RateLimit-Policy",
        "Whose requests are counted together, how many they may be (`q`), in how many seconds (`w`): `\"key\";q=6000;w=60`.",
    ),
    (
        "RateLimit",
        "How many may come now (`r`), and in how many seconds as many as can be (`t`): `\"key\";r=590;t=1`. On every answer that counts.",
    ),
];

/// Adds the responses and headers that operations refer to.
pub fn components(components: ComponentsBuilder) -> ComponentsBuilder {
    let text = || ContentBuilder::new().schema(Some(Schema::from(string().build()))).build();
    let unmodified =
        ResponseBuilder::new().description("What you have is still good.").header_ref("ETag", header_ref("ETag"));
    let export =
        ResponseBuilder::new().description(EXPORT).content("text/csv", text()).content("application/x-ndjson", text());
    components
        .response(PROBLEM, problem())
        .response("NotModified", unmodified)
        .response("Export", export)
        .header("ETag", text_header("Identifies this state; send it back in `If-None-Match` or `If-Match`."))
        .header("Location", text_header("Path of the new row."))
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
            .schema(Some(Schema::from(string().min_length(Some(1)).max_length(Some(MAX_KEY_LEN)).build())));
        operation.parameters.get_or_insert_default().push(RefOr::T(key.build()));
    }
}

fn text_header(about: &str) -> Header {
    HeaderBuilder::new().schema(Some(Schema::from(string().build()))).description(Some(about)).build()
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}
