//! HTTP handlers of imports: the upload (`POST /imports`), the jobs of an import (`/imports/{id}/trial`, `/execution`,
//! `/reversion`), its preview and its errors.

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{Bytes, BytesMut, Data, ServiceConfig};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::csv_reader::Records;
use super::job::{self, IMPORT};
use super::resource::{FORMATS, IMPORTS, Import, NAMES, ON_MATCH, check_finders, columns, imported, mapped};
use super::revert::{self, REVERT};
use super::settings::ImportSettings;
use super::{csv_header as headers, error_report, file_store, matching, row_results};
use crate::auth::{Action, Area, Tenant};
use crate::background::{self, JobType, JobWaker};
use crate::base::error::{Error, FieldError, Result};
use crate::db::{Actor, Db, SqlValue, Statement, Tx};
use crate::http::caller::Caller;
use crate::http::idempotency::{self, ApiResponse, IdempotencyKey};
use crate::http::payload::BodyStream;
use crate::http::routing::{self, Routes};
use crate::integrations::jobs;
use crate::resource::action_body::ActionBody;
use crate::resource::crud::{self, Row};
use crate::resource::http::{API, id, no_parameters};
use crate::resource::list_query::Projection;
use crate::resource::{Resource, did_you_mean};

/// Maximum length of the header line, in bytes.
const MAX_HEADER_LEN: usize = 64 * 1024;
/// Maximum length of a file name, in characters.
const MAX_FILE_NAME_LEN: usize = 255;

/// What the handlers that start a job use.
type State = (Data<Db>, Data<JobWaker>, Data<ImportSettings>);

/// Registers the upload as the operation which creates an import.
pub fn creation(many: Routes) -> Routes {
    many.streams(Method::POST, upload)
}

/// Registers the routes below `/imports`.
pub fn routes(scope: &mut ServiceConfig) {
    routing::resource("/{id}/trial").on(Method::POST, dry_run).register(scope);
    routing::resource("/{id}/execution").on(Method::POST, execute).register(scope);
    routing::resource("/{id}/reversion").on(Method::POST, revert).register(scope);
    routing::resource("/{id}/preview").on(Method::GET, preview).register(scope);
    routing::resource("/{id}/errors").on(Method::GET, error_report::download).register(scope);
}

async fn upload(
    (db, waker, settings): State,
    caller: Caller,
    request: HttpRequest,
    body: BodyStream,
) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Crm, Action::Write)?;
    let asked = Asked::read(&request)?;
    if let Some(resource) = imported(asked.resource) {
        caller.require(resource.area, Action::Write)?;
    }
    // Rejects an invalid idempotency key before the file is received.
    IdempotencyKey::from_request(&tenant, &request, &[])?;
    let id = Uuid::now_v7();
    let made = match receive(&db, settings.max_bytes, &tenant, id, &request, body).await {
        Ok(file) => {
            let (own, digest) = (tenant.clone(), file.digest);
            let status = if asked.starts { StatusCode::ACCEPTED } else { StatusCode::CREATED };
            let make = move |tx: &mut Tx<'_>| {
                let path = format!("{API}/imports/{id}");
                Ok(ApiResponse { status, ..create(tx, &own, id, &asked, &file)?.created(path) })
            };
            // The file is too large to be compared; its digest identifies it.
            idempotency::write_or_replay(&db, &tenant, &request, &digest, "import_create", make).await
        }
        Err(error) => Err(error),
    };
    // On an error or a replay the copy just received is not needed.
    if !matches!(made, Ok((_, false))) {
        let own = tenant.clone();
        let forgotten = db.for_tenant(&tenant).write("import_forget", move |tx| file_store::forget(tx, &own, id)).await;
        if let Err(error) = forgotten {
            tracing::warn!(%error, "a file that is not needed is cleared away with those that broke off");
        }
    }
    waker.wake();
    Ok(made?.0)
}

async fn preview(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(IMPORTS.area, Action::Read)?;
    no_parameters(&request)?;
    let id = id(&IMPORTS, &request)?;
    let shown =
        db.for_tenant(&tenant).read("import_preview", move |conn| row_results::shown(conn, &tenant, id)).await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(shown))
}

async fn dry_run(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Crm, Action::Write)?;
    started(state, tenant, request, body, |tx, tenant, import| run(tx, tenant, import, true)).await
}

async fn execute(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(Area::Crm, Action::Write)?;
    started(state, tenant, request, body, |tx, tenant, import| run(tx, tenant, import, false)).await
}

async fn revert(state: State, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    // It deletes the created rows.
    let (tenant, days) = (caller.require(Area::Crm, Action::Delete)?, state.2.retention_days);
    started(state, tenant, request, body, move |tx, tenant, import| take_back(tx, tenant, import, days)).await
}

/// Starts a job on the import of the path: 202 with the import, and the job's path in `Location`.
async fn started(
    (db, waker, _): State,
    tenant: Tenant,
    request: HttpRequest,
    body: Bytes,
    start: impl Fn(&mut Tx<'_>, &Tenant, Import) -> Result<Uuid> + Send + Sync + 'static,
) -> Result<HttpResponse> {
    ActionBody::read(&body, &[])?;
    let (id, own) = (id(&IMPORTS, &request)?, tenant.clone());
    let begin = move |tx: &mut Tx<'_>| {
        let import = Import::lock(tx, &own, id)?;
        import.rests()?;
        let job = start(tx, &own, import)?;
        let answer = shown(tx, &own, id)?.created(jobs::path(job));
        Ok(ApiResponse { status: StatusCode::ACCEPTED, ..answer })
    };
    let reply = idempotency::write(&db, &tenant, &request, &body, "import_start", begin).await?;
    waker.wake();
    Ok(reply)
}

fn shown(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Row> {
    crud::one(tx, tenant, &IMPORTS, id, &Projection::default())?.ok_or_else(|| crud::not_found(&IMPORTS))
}

/// Enqueues the job which imports `import` or, as a trial, dry-runs it. Errors: 409 when it was imported; 422 for its
/// mapping.
fn run(tx: &mut Tx<'_>, tenant: &Tenant, import: Import, trial: bool) -> Result<Uuid> {
    if import.executed {
        let detail = "The file has been imported already. Upload it again: what is there is recognised.";
        return Err(Error::conflict("already_imported", detail));
    }
    import.mapped()?;
    let input = job::Input { import: import.id, trial, before: import.run };
    let (state, executed) = if trial { ("trying", "NULL") } else { ("importing", "now()") };
    let zeros = "read = 0, created = 0, changed = 0, unchanged = 0, failed = 0, companies = 0";
    let set = format!("state = '{state}', executed_at = {executed}, finished_at = NULL, {zeros}, run_id = job_id");
    begin(tx, tenant, import.id, &IMPORT, json!(input), &set)
}

/// Enqueues the job which reverts `import`. Errors: 409 when nothing was imported, when it was reverted already, and
/// after `days`.
fn take_back(tx: &mut Tx<'_>, tenant: &Tenant, import: Import, days: u32) -> Result<Uuid> {
    let refused = |code, detail: String| Err(Error::conflict(code, detail));
    let mut sql = Statement::new("SELECT (executed_at > now() - ");
    sql.bind(SqlValue::Int(Some(days.into()))).push(" * interval '1 day')::int FROM imports WHERE business_id = ");
    sql.bind(SqlValue::Uuid(Some(tenant.id()))).push(" AND id = ").bind(SqlValue::Uuid(Some(import.id)));
    let in_time = sql.row(tx)?.and_then(|row| row.int(0));
    match (import.run, in_time, import.state.as_str()) {
        (_, _, "reverted") => refused("already_reverted", "The import has been taken back already.".into()),
        (None, ..) | (_, None, _) => refused("not_imported", "Nothing of the file has been imported.".into()),
        (_, Some(0), _) => {
            refused("too_late", format!("An import can be taken back for {days} days (RAPPORT_IMPORT_RETENTION_DAYS)."))
        }
        (Some(run), ..) => {
            let input = revert::Input { import: import.id, run };
            begin(tx, tenant, import.id, &REVERT, json!(input), "state = 'reverting', reverted = 0, kept = 0")
        }
    }
}

/// Enqueues a job and updates the import. In `set`, which is SQL, `run_id = job_id` sets the id of the new job.
fn begin(tx: &mut Tx<'_>, tenant: &Tenant, import: Uuid, kind: &JobType, input: Json, set: &str) -> Result<Uuid> {
    let job = background::enqueue(tx, tenant, kind, input)?;
    let mut sql = Statement::new("UPDATE imports SET job_id = ");
    sql.bind(SqlValue::Uuid(Some(job))).push(", version = version + 1, updated_at = now(), ");
    match set.split_once("run_id = job_id") {
        Some((rest, _)) => sql.push(rest).push("run_id = ").bind(SqlValue::Uuid(Some(job))),
        None => sql.push(set),
    };
    sql.push(" WHERE business_id = ").bind(SqlValue::Uuid(Some(tenant.id()))).push(" AND id = ");
    sql.bind(SqlValue::Uuid(Some(import))).run(tx)?;
    Ok(job)
}

/// Parameters of an upload.
struct Asked {
    resource: &'static str,
    format: &'static str,
    file_name: Option<String>,
    mapping: Map<String, Json>,
    finders: Option<Vec<String>>,
    on_match: &'static str,
    trial: bool,
    starts: bool,
}

impl Asked {
    const PARAMETERS: [&'static str; 8] =
        ["resource", "format", "file_name", "mapping", "match_by", "on_match", "dry_run", "start"];

    /// Parses the query string and the content type. Errors: 400 with every error; 415.
    fn read(request: &HttpRequest) -> Result<Self> {
        let format = match request.content_type() {
            "text/csv" => "csv",
            "application/x-ndjson" | "application/jsonl" => "ndjson",
            _ => {
                let detail = "Send the file as `Content-Type: text/csv` or `application/x-ndjson`.";
                return Err(Error::Unsupported(detail.into()));
            }
        };
        let mut asked = Self {
            resource: "",
            format,
            file_name: None,
            mapping: Map::new(),
            finders: None,
            on_match: "update",
            trial: false,
            starts: true,
        };
        let mut faults = Vec::new();
        for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
            if let Err((code, detail)) = asked.take(&name, &value) {
                faults.push(FieldError::new(format!("/query/{name}"), code, detail));
            }
        }
        if asked.resource.is_empty() && faults.is_empty() {
            let detail = format!("`resource` says what the rows are: one of {}.", NAMES.join(", "));
            faults.push(FieldError::new("/query/resource", "required", detail));
        }
        if faults.is_empty() { Ok(asked) } else { Err(Error::parameters(faults)) }
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), (&'static str, String)> {
        let choice = |among: &'static [&'static str]| {
            let found = among.iter().find(|known| **known == value).copied();
            found.ok_or_else(|| ("not_a_choice", format!("`{name}` is one of {}.", among.join(", "))))
        };
        let flag = || choice(&["true", "false"]).map(|flag| flag == "true");
        match name {
            "resource" => self.resource = choice(NAMES)?,
            "format" if choice(FORMATS)? != self.format => {
                return Err(("not_a_choice", "`format` and the Content-Type of the body do not agree.".into()));
            }
            "format" => {}
            "file_name" if (1..=MAX_FILE_NAME_LEN).contains(&value.chars().count()) && !value.contains('\0') => {
                self.file_name = Some(value.to_owned());
            }
            "file_name" => return Err(("length", format!("`file_name` has 1 to {MAX_FILE_NAME_LEN} characters."))),
            "mapping" => {
                let object = serde_json::from_str(value);
                self.mapping =
                    object.map_err(|_| ("format", "`mapping` is a JSON object from header to field.".into()))?;
            }
            "match_by" => {
                self.finders = Some(value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
            }
            "on_match" => self.on_match = choice(ON_MATCH)?,
            "dry_run" => self.trial = flag()?,
            "start" => self.starts = flag()?,
            _ => {
                let hint = did_you_mean(name, Self::PARAMETERS);
                return Err(("unknown_parameter", format!("There is no parameter `{name}`.{hint}")));
            }
        }
        Ok(())
    }
}

/// A file which is stored.
struct File {
    bytes: u64,
    lines: u64,
    /// Its first bytes.
    head: Vec<u8>,
    /// SHA-256 of the whole file.
    digest: [u8; 32],
}

/// Stores the file chunk by chunk, one transaction each. Chunks of an incomplete upload are deleted later
/// ([`super::cleanup`]).
async fn receive(
    db: &Db,
    max_bytes: u64,
    tenant: &Tenant,
    id: Uuid,
    request: &HttpRequest,
    mut body: BodyStream,
) -> Result<File> {
    let too_large = || Error::TooLarge(format!("A file may have at most {max_bytes} bytes (RAPPORT_IMPORT_BYTES)."));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > max_bytes) {
        return Err(too_large());
    }
    let mut file = File { bytes: 0, lines: 0, head: Vec::new(), digest: [0; 32] };
    let mut digest = Sha256::new();
    let (mut chunk, mut number) = (BytesMut::with_capacity(file_store::CHUNK), 0);
    while let Some(piece) = body.next().await? {
        file.bytes += piece.len() as u64;
        digest.update(&piece);
        if file.bytes > max_bytes {
            return Err(too_large());
        }
        file.lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        let wanted = MAX_HEADER_LEN.saturating_sub(file.head.len()).min(piece.len());
        file.head.extend_from_slice(&piece[..wanted]);
        let mut piece = &piece[..];
        while chunk.len() + piece.len() >= file_store::CHUNK {
            let (now, later) = piece.split_at(file_store::CHUNK - chunk.len());
            chunk.extend_from_slice(now);
            keep(db, tenant, id, number, chunk.split().to_vec()).await?;
            (number, piece) = (number + 1, later);
        }
        chunk.extend_from_slice(piece);
    }
    if !chunk.is_empty() {
        keep(db, tenant, id, number, chunk.to_vec()).await?;
    }
    file.digest = digest.finalize().into();
    Ok(file)
}

async fn keep(db: &Db, tenant: &Tenant, id: Uuid, number: usize, data: Vec<u8>) -> Result<()> {
    let own = tenant.clone();
    let kept = move |tx: &mut Tx<'_>| file_store::keep(tx, &own, id, number, data.clone());
    db.for_tenant(tenant).write("import_chunk", kept).await
}

/// Creates the import of a stored file, and its job if it is to start. Errors: 422 for headers, mapping and match keys.
fn create(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid, asked: &Asked, file: &File) -> Result<Row> {
    let resource = imported(asked.resource).ok_or_else(|| Error::Internal("nothing can be imported".into()))?;
    let (separator, headers) = headers_of(asked.format, file)?;
    let mapping = mapped(resource, asked.format, &headers, &asked.mapping)?;
    let default = || matching::finders(resource).iter().map(|name| (*name).to_owned()).collect();
    let finders: Vec<String> = asked.finders.clone().unwrap_or_else(default);
    check_finders(resource, &finders)?;
    insert(tx, tenant, id, resource, asked, file, Values { separator, headers, columns: columns(&mapping), finders })?;
    if asked.starts {
        let import = Import::lock(tx, tenant, id)?;
        run(tx, tenant, import, asked.trial)?;
    }
    shown(tx, tenant, id)
}

/// Values of an import which come from the file and from defaults.
struct Values {
    separator: u8,
    headers: Vec<String>,
    columns: Json,
    finders: Vec<String>,
}

fn insert(
    tx: &mut Tx<'_>,
    tenant: &Tenant,
    id: Uuid,
    resource: &Resource,
    asked: &Asked,
    file: &File,
    values: Values,
) -> Result<()> {
    let (actor, by) = match tenant.actor().map(Actor::parts) {
        Some((kind, id)) => (kind, Some(id)),
        None => ("system", None),
    };
    let text = SqlValue::text;
    let lines = file.lines.saturating_sub(u64::from(asked.format == "csv")) as i64;
    let columns = [
        ("business_id", SqlValue::Uuid(Some(tenant.id()))),
        ("id", SqlValue::Uuid(Some(id))),
        ("resource", text(resource.plural)),
        ("format", text(asked.format)),
        ("file_name", SqlValue::Text(asked.file_name.clone())),
        ("bytes", SqlValue::Int(Some(file.bytes as i64))),
        ("lines", SqlValue::Int(Some(lines))),
        (
            "layout",
            SqlValue::Json(Some(json!({ "separator": char::from(values.separator), "headers": values.headers }))),
        ),
        ("mapping", SqlValue::Json(Some(Json::Object(asked.mapping.clone())))),
        ("targets", SqlValue::Json(Some(values.columns))),
        ("match_by", SqlValue::Texts(values.finders)),
        ("on_match", text(asked.on_match)),
        ("actor_kind", text(actor)),
        ("actor_id", SqlValue::Uuid(by)),
    ];
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut sql = Statement::new(format!("INSERT INTO imports ({}) VALUES (", names.join(", ")));
    for (place, (_, value)) in columns.into_iter().enumerate() {
        sql.push(if place == 0 { "" } else { ", " }).bind(value);
    }
    sql.push(")").run(tx)?;
    Ok(())
}

/// Parses the separator and the headers of a CSV file. Errors: 422.
fn headers_of(format: &str, file: &File) -> Result<(u8, Vec<String>)> {
    let fault = |detail: String| Error::Invalid(vec![FieldError::new("", "file", detail)]);
    if file.bytes == 0 {
        return Err(fault("The file is empty.".into()));
    }
    if format != "csv" {
        return Ok((b',', Vec::new()));
    }
    let whole = file.bytes as usize <= file.head.len();
    if !whole && !file.head.contains(&b'\n') {
        return Err(fault(format!("The first line has more than {MAX_HEADER_LEN} bytes; it must be the headers.")));
    }
    let separator = headers::delimiter(&file.head);
    let header = Records::new(&file.head[..], separator, whole).header();
    let headers = headers::headers(&header.map_err(|error| fault(error.to_string()))?).map_err(fault)?;
    if headers.iter().any(|header| header.contains('\0')) {
        return Err(fault("A header must not contain the character U+0000.".into()));
    }
    Ok((separator, headers))
}
