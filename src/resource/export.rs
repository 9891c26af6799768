//! Exports all rows of a list as a file: `GET /{resource}/export?format=csv|ndjson`, with the parameters of the list.
//!
//! The response is streamed page by page, from keyset cursors, as fast as the client reads: memory is that of one page,
//! and a slow client holds no connection and blocks nothing in the database. Each page is of its own snapshot. In the
//! default order, by creation, no row comes twice and none that stays is left out; in an order by a value that changes,
//! a row that changes meanwhile may.

use std::borrow::Cow;

use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;
use futures_util::stream;

use super::cached_read::may_include;
use super::definition::Resource;
use super::field::{Field, FieldType};
use super::list_query::{List, Projection};
use super::read_service::ReadService;
use super::relation::Cardinality;
use super::{own_id, read_rows, row_json};
use crate::auth::{Action, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::base::suggest::did_you_mean;
use crate::db::RawRow;
use crate::http::caller::UnverifiedCaller;

/// Rows of one page: enough that the cost of its query is small beside them, few enough to be small in memory.
const PAGE: u32 = 500;

pub const FORMATS: [&str; 2] = ["csv", "ndjson"];
/// List parameters that an export of all rows does not take.
pub const WITHOUT: [&str; 4] = ["limit", "cursor", "count", "highlight"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// RFC 4180, with a header line.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

/// An export in progress.
struct Export {
    reads: Data<ReadService>,
    /// Revalidated before each page: a caller who loses the permission gets no more rows.
    caller: UnverifiedCaller,
    resource: &'static Resource,
    list: List,
    format: Format,
    begun: bool,
    done: bool,
}

pub async fn export(
    resource: &'static Resource,
    reads: Data<ReadService>,
    caller: UnverifiedCaller,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let caller = caller.revalidate().await?;
    caller.identity().require(resource.area, Action::Read)?;
    let query = own_id::named(resource, request.query_string(), caller.identity().principal);
    let (format, list) = parse(resource, &query, caller.business())?;
    may_include(&caller, resource, &list.projection)?;
    let (kind, ending) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let name = format!("attachment; filename=\"{}-{}.{ending}\"", resource.plural, Utc::now().format("%Y-%m-%d"));
    let mut export = Export { reads, caller, resource, list, format, begun: false, done: false };
    // The first page before the response begins, so that an error is a response and not a truncated file.
    let first = export.page().await?;
    let rest = stream::try_unfold(export, |mut export| async {
        Ok::<_, Error>(match export.done {
            true => None,
            false => Some((export.page().await?, export)),
        })
    });
    let mut reply = HttpResponse::Ok();
    reply.insert_header((header::CONTENT_TYPE, kind)).insert_header((header::CONTENT_DISPOSITION, name));
    reply.insert_header((header::CACHE_CONTROL, "no-store"));
    use futures_util::StreamExt;
    Ok(reply.streaming(stream::once(async { Ok(first) }).chain(rest)))
}

impl Export {
    /// Reads and formats the next page.
    async fn page(&mut self) -> Result<Bytes> {
        if self.begun {
            self.caller = self.caller.revalidate().await?;
        }
        let tenant = self.caller.identity().require(self.resource.area, Action::Read)?;
        let (list, format, header) = (self.list.clone(), self.format, !self.begun);
        let (out, next) = self
            .reads
            .db
            .for_tenant(&tenant)
            .read("export", move |conn| {
                let page = read_rows::page(conn, &tenant, &list)?;
                let out = match format {
                    Format::Csv => csv(&list, &page.rows, header)?,
                    Format::Ndjson => ndjson(&list, &page),
                };
                Ok((out, page.next))
            })
            .await?;
        self.begun = true;
        self.done = next.is_none();
        // The cursor was just encoded, so it decodes.
        self.list.cursor = next.and_then(|cursor| self.list.decode_cursor(&cursor));
        Ok(out.into())
    }
}

fn parse(resource: &'static Resource, query: &str, business: &TenantSettings) -> Result<(Format, List)> {
    let mut faults = Vec::new();
    let mut fault =
        |name: &str, code, detail: String| faults.push(FieldError::new(format!("/query/{name}"), code, detail));
    let (mut format, mut rest) = (Format::Csv, url::form_urlencoded::Serializer::new(String::new()));
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "format" => match &*value {
                "csv" => format = Format::Csv,
                "ndjson" => format = Format::Ndjson,
                other => {
                    let hint = did_you_mean(other, FORMATS);
                    fault("format", "not_a_choice", format!("There is no format `{other}`.{hint}"));
                }
            },
            name if WITHOUT.contains(&name) => {
                fault(name, "unknown_parameter", format!("An export has all rows; leave `{name}` out."));
            }
            _ => drop(rest.append_pair(&name, &value)),
        }
    }
    let list = match List::parse(resource, &rest.finish(), business) {
        Ok(list) => Some(list),
        Err(Error::Malformed { faults: more, .. }) => {
            faults.extend(more);
            None
        }
        Err(error) => return Err(error),
    };
    if let Some(list) = &list
        && format == Format::Csv
        && let Some(included) =
            list.projection.include.iter().find(|included| included.relation.arity != Cardinality::One)
    {
        let name = included.relation.name;
        let detail = format!("`{name}` has no place in a line of CSV: many belong to one row. Use `format=ndjson`.");
        faults.push(FieldError::new("/query/include", "out_of_range", detail));
    }
    match list {
        Some(list) if faults.is_empty() => Ok((format, List { limit: PAGE, ..list })),
        _ => Err(Error::parameters(faults)),
    }
}

fn ndjson(list: &List, page: &read_rows::Page) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.rows.len() * 1024);
    for row in &page.rows {
        out.extend_from_slice(&read_rows::row(list.resource, &list.projection, row, &page.related).json);
        out.push(b'\n');
    }
    out
}

/// The columns of a line: the selected fields of the row and of each row joined to it, with the index of the cell.
fn columns(resource: &'static Resource, view: &Projection) -> Vec<(String, &'static Field, usize)> {
    let mut columns = Vec::new();
    let mut add = |prefix: &str, resource: &'static Resource, shown: row_json::FieldMask, offset: usize| {
        let fields = resource.fields.iter().enumerate();
        let fields = fields.filter(|(index, _)| shown.is_none_or(|mask| mask & (1 << index) != 0));
        columns.extend(fields.map(|(index, field)| (format!("{prefix}{}", field.name), field, offset + index)));
    };
    add("", resource, view.mask, 0);
    let mut offset = resource.fields.len();
    for included in &view.include {
        add(&format!("{}.", included.relation.name), included.resource, included.mask, offset);
        offset += included.resource.fields.len();
    }
    columns
}

fn csv(list: &List, rows: &[RawRow], header: bool) -> Result<Vec<u8>> {
    let columns = columns(list.resource, &list.projection);
    let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let failed = |error: csv::Error| Error::Internal(format!("a line of CSV: {error}"));
    if header {
        lines.write_record(columns.iter().map(|(name, _, _)| name)).map_err(failed)?;
    }
    for row in rows {
        let cells = columns.iter().map(|(_, field, place)| row.get(*place).map(|cell| text(field.field_type, cell)));
        lines.write_record(cells.map(Option::unwrap_or_default)).map_err(failed)?;
    }
    lines.into_inner().map_err(|error| Error::Internal(format!("a line of CSV: {error}")))
}

/// Formats a cell as spreadsheets show it and imports read it.
fn text(kind: FieldType, cell: &[u8]) -> Vec<u8> {
    let text = match kind {
        FieldType::Tags => labels(cell),
        _ => row_json::plain(kind, cell),
    };
    // Numbers, times and the like are formatted by us and cannot be formulas.
    if is_free(kind) { escape_formula(&text).into_owned() } else { text }
}

/// `vip;new`, or a JSON array where a label has a separator in it, or would otherwise not be read back unchanged.
fn labels(cell: &[u8]) -> Vec<u8> {
    let labels = row_json::labels(cell);
    let is_plain = |label: &&[u8]| {
        std::str::from_utf8(label).is_ok_and(|label| !label.contains([',', ';', '|', '[']) && label.trim() == label)
    };
    if labels.iter().all(is_plain) { labels.join(&b';') } else { row_json::plain(FieldType::Tags, cell) }
}

fn is_free(kind: FieldType) -> bool {
    use FieldType::*;
    !matches!(kind, Uuid | Int { .. } | Bool | Time | Date | Decimal | Hours | Object)
}

/// Puts an apostrophe before a text that a spreadsheet would take for a formula, which marks it as text (OWASP, CSV
/// injection). A phone number in E.164 (sign and digits) is no formula. A text that has such an apostrophe of its own
/// gets another one, so that [`unescape_formula`] restores each text unchanged.
pub fn escape_formula(text: &[u8]) -> Cow<'_, [u8]> {
    let number = matches!(text.split_first(), Some((b'+', digits)) if digits.iter().all(u8::is_ascii_digit));
    if number || !is_formula(text) { Cow::Borrowed(text) } else { Cow::Owned([b"'", text].concat()) }
}

/// Reverses [`escape_formula`].
pub fn unescape_formula(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if is_formula(rest.as_bytes()) => rest,
        _ => text,
    }
}

/// Whether it begins as formulas do, apostrophes aside.
fn is_formula(text: &[u8]) -> bool {
    let first = text.iter().find(|byte| **byte != b'\'');
    matches!(first, Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_formula_prefixes_only_spreadsheet_formulas() {
        for formula in ["=1+1", "+1+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "+49 (0) 30", "+1|calc", "'=1", "''+49"] {
            assert_eq!(*escape_formula(formula.as_bytes()), format!("'{formula}").into_bytes());
        }
        for text in ["", "Anna", "+4915112345678", "a=1", " =1", "'Tis", "'"] {
            assert_eq!(*escape_formula(text.as_bytes()), *text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn unescape_formula_reverses_escape_formula(text in "['=+\\-@\t0-9 a]{0,6}") {
            let escaped = escape_formula(text.as_bytes()).into_owned();
            prop_assert_eq!(unescape_formula(std::str::from_utf8(&escaped).expect("text")), text);
        }
    }
}
