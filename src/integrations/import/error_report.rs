//! `GET /imports/{id}/errors`: streams the refused rows of an import as a CSV file, page by page. With `notes=true` it
//! includes the imported rows of which a value was kept elsewhere than in its field.

use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use diesel::sql_types::{Binary, Nullable};
use diesel::{PgConnection, QueryableByName};
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::csv_split;
use super::report_format;
use super::resource::IMPORTS;
use super::row_results;
use super::stored_import::Import;
use crate::auth::{Action, Tenant};
use crate::base::error::{Error, FieldError, Result};
use crate::db::schema::import_row_results;
use crate::db::{Db, Statement};
use crate::http::caller::Caller;
use crate::http::file_store::PART_BYTES;
use crate::http::openapi_problems::{BadRequest, CallerProblems, NotFound, ServiceProblems};
use crate::resource::did_you_mean;
use crate::resource::http::id;

/// Rows per page.
const PAGE: u32 = 200;

/// Streams the file; without rows it has only the header.
#[utoipa::path(
    get,
    path = "/api/v1/imports/{id}/errors",
    tag = "imports",
    operation_id = "getImportErrors",
    summary = "Get the refused rows of an import",
    description = "As a CSV file, a line for each fault: the number of the row, its cells as they were (formulas escaped as in \
                   exports), and what is wrong. Of CSV the header is row 1, a row is one also where its cells have line breaks, \
                   and empty lines are not counted; of NDJSON each line is counted. Cells are empty when the file is not kept \
                   any more. With `notes=true` also the rows that were taken and have a value that is kept elsewhere than in its \
                   field.",
    params(
        ("id" = Uuid, Path, description = "Id of the import."),
        ("notes" = Option<bool>, Query,
            description = "`true`: with rows that were taken, and what of them is kept elsewhere."),
    ),
    responses(
        (status = 200, description = "The rows.", body = String, content_type = "text/csv",
            example = json!("row,first_name,email,pointer,code,detail\n4,Bo,not an address,/email,format,…\n")),
        (status = 400, response = BadRequest),
        (status = 404, response = NotFound),
        CallerProblems,
        ServiceProblems,
    )
)]
pub async fn download(db: Data<Db>, caller: Caller, request: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(IMPORTS.area, Action::Read)?;
    let notes = wants_notes(&request)?;
    let id = id(&IMPORTS, &request)?;
    let own = tenant.clone();
    let file = db.for_tenant(&tenant).read("import_errors", move |conn| Refusals::open(conn, &own, id, notes)).await?;
    let first = file.headers()?;
    let pages = stream::unfold((db, tenant, file, Some(first)), |(db, tenant, mut file, first)| async move {
        if let Some(first) = first {
            return Some((Ok::<_, Error>(first), (db, tenant, file, None)));
        }
        let (last, own) = (file.last?, tenant.clone());
        let page = db.for_tenant(&tenant).read("import_errors", move |conn| {
            let mut page = file.clone();
            page.next(conn, &own, last).map(|bytes| (bytes, page))
        });
        match page.await {
            Ok((bytes, next)) => {
                file = next;
                if bytes.is_empty() && file.last.is_none() { None } else { Some((Ok(bytes), (db, tenant, file, None))) }
            }
            // The response has started; cutting it off shows the client that it is incomplete.
            Err(error) => Some((Err(error), (db, tenant, Refusals { last: None, ..Refusals::default() }, None))),
        }
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"import-{id}-errors.csv\"")))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(pages))
}

/// Parses `notes=true`. Errors: 400 for other parameters and values.
fn wants_notes(request: &HttpRequest) -> Result<bool> {
    let (mut notes, mut faults) = (false, Vec::new());
    for (name, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
        let fault = |code, detail: String| FieldError::new(format!("/query/{name}"), code, detail);
        match (&*name, &*value) {
            ("notes", "true" | "false") => notes = value == "true",
            ("notes", _) => faults.push(fault("not_a_choice", "`notes` is one of true, false.".into())),
            _ => {
                let hint = did_you_mean(&name, ["notes"]);
                faults.push(fault("unknown_parameter", format!("There is no parameter `{name}`.{hint}")));
            }
        }
    }
    if faults.is_empty() { Ok(notes) } else { Err(Error::parameters(faults)) }
}

/// Cursor over the refused rows of a run.
#[derive(Clone, Default)]
struct Refusals {
    import: Uuid,
    run: Uuid,
    /// Whether imported rows with notes are included.
    notes: bool,
    csv: bool,
    separator: u8,
    columns: Vec<String>,
    /// Id of the last row read; `None`: there are no more.
    last: Option<Uuid>,
}

/// A row of the file with its validation errors or notes.
#[derive(QueryableByName)]
#[diesel(table_name = import_row_results)]
struct ReportedRow {
    id: Uuid,
    faults: Option<Json>,
    /// Its bytes, if the file is still stored.
    #[diesel(sql_type = Nullable<Binary>)]
    bytes: Option<Vec<u8>>,
}

/// A recorded validation error.
#[derive(Deserialize)]
struct Recorded {
    pointer: String,
    code: String,
    detail: String,
}

impl Refusals {
    /// Loads the layout of the import. Errors: 404.
    fn open(conn: &mut PgConnection, tenant: &Tenant, id: Uuid, notes: bool) -> Result<Self> {
        let import = Import::load(conn, tenant, id)?;
        let csv = import.format == "csv";
        Ok(Self {
            import: id,
            run: import.run.unwrap_or_default(),
            notes,
            csv,
            separator: import.separator,
            columns: if csv { import.headers } else { vec!["line".to_owned()] },
            last: import.run.map(|run| row_results::range(run)[0]),
        })
    }

    fn headers(&self) -> Result<Bytes> {
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        report_format::headers(&mut writer, &self.columns).map_err(internal)?;
        writer.into_inner().map(Bytes::from).map_err(internal)
    }

    /// Reads the page after `last`, with the original cells if the file is still stored.
    fn next(&mut self, conn: &mut PgConnection, tenant: &Tenant, last: Uuid) -> Result<Bytes> {
        let mut sql = Statement::new(
            "SELECT r.id, r.faults, (SELECT string_agg(substr(c.data, \
                 (greatest(r.place - c.number::bigint * k.bytes, 0) + 1)::int, \
                 (least(r.place + r.length, (c.number + 1)::bigint * k.bytes) - greatest(r.place, c.number::bigint * k.bytes))::int), \
                 ''::bytea ORDER BY c.number) FROM import_chunks c \
                 WHERE c.business_id = r.business_id AND c.number >= r.place / k.bytes \
                 AND c.number <= (r.place + r.length - 1) / k.bytes AND c.import_id = ",
        );
        sql.bind(self.import).sql(") AS bytes FROM (SELECT ").number(PART_BYTES as i64);
        sql.sql(" AS bytes) k CROSS JOIN import_row_results r WHERE r.business_id = ").bind(tenant.id());
        sql.append(row_results::within(self.run));
        sql.sql(if self.notes { " AND r.faults IS NOT NULL" } else { " AND r.outcome = 'refused'" });
        sql.sql(" AND r.id > ").bind(last).sql(" ORDER BY r.id LIMIT ").number(PAGE);
        let rows: Vec<ReportedRow> = sql.load(conn)?;
        self.last = rows.last().filter(|_| rows.len() == PAGE as usize).map(|row| row.id);
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        for ReportedRow { id, faults, bytes } in rows {
            let faults: Vec<Recorded> =
                faults.and_then(|faults| serde_json::from_value(faults).ok()).unwrap_or_default();
            let cells = self.cells(&bytes.unwrap_or_default());
            for Recorded { pointer, code, detail } in &faults {
                let number = row_results::number(id);
                report_format::line(&mut writer, self.columns.len(), number, &cells, [pointer, code, detail])
                    .map_err(internal)?;
            }
        }
        writer.into_inner().map(Bytes::from).map_err(internal)
    }

    /// Splits a row of the file into its cells.
    fn cells(&self, bytes: &[u8]) -> csv::ByteRecord {
        match self.csv {
            true => csv_split::cells(bytes, self.separator),
            false => csv::ByteRecord::from(vec![bytes.trim_ascii()]),
        }
    }
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string())
}
