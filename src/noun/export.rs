//! All rows of a list as a file: `GET /{noun}/export?format=csv|ndjson` with the grammar of the list.
//!
//! It is written page by page as fast as it is taken, from keyset cursors: so memory is that of one page, no connection is
//! held while a slow client reads, and nothing in the database waits for one. Each page is of its own moment. In the
//! default order, by creation, no row comes twice and none that stays is left out; in an order by what changes, a row that
//! changes meanwhile may.

use std::borrow::Cow;

use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::Utc;
use futures_util::stream;

use super::cursor::Cursor;
use super::params::{List, View};
use super::{Arity, Engine, Field, Kind, Noun, did_you_mean, json, store};
use crate::auth::{Action, Business};
use crate::db::Cells;
use crate::error::{Error, Fault, Result};
use crate::http::caller::Claim;

/// Rows of one page: enough that its query costs little beside them, few enough to be small in memory.
const PAGE: u32 = 500;

pub const FORMATS: [&str; 2] = ["csv", "ndjson"];
/// Parameters of a list that make no sense of a whole one.
pub const WITHOUT: [&str; 3] = ["limit", "cursor", "count"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// RFC 4180, with a header line.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// An export under way.
struct Export {
    engine: Data<Engine>,
    /// Confirmed before each page: whoever may no longer read gets no more.
    claim: Claim,
    noun: &'static Noun,
    list: List,
    format: Format,
    begun: bool,
    done: bool,
}

pub async fn export(
    noun: &'static Noun,
    engine: Data<Engine>,
    claim: Claim,
    request: HttpRequest,
) -> Result<HttpResponse> {
    let claim = claim.again().await?;
    claim.identity().may(noun.area, Action::Read)?;
    let (format, list) = parse(noun, request.query_string(), claim.business())?;
    super::answer::may_include(&claim, noun, &list.view)?;
    let (kind, ending) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let name = format!("attachment; filename=\"{}-{}.{ending}\"", noun.plural, Utc::now().format("%Y-%m-%d"));
    let mut export = Export { engine, claim, noun, list, format, begun: false, done: false };
    // The first page here, so that what is wrong is an answer and not the end of a file.
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
    /// The next page as it is written.
    async fn page(&mut self) -> Result<Bytes> {
        if self.begun {
            self.claim = self.claim.again().await?;
        }
        let tenant = self.claim.identity().may(self.noun.area, Action::Read)?;
        let (list, format, header) = (self.list.clone(), self.format, !self.begun);
        let (out, next) = self
            .engine
            .db
            .within(&tenant)
            .read("export", move |conn| {
                let page = store::page(conn, &tenant, &list)?;
                let out = match format {
                    Format::Csv => csv(&list, &page.rows, header)?,
                    Format::Ndjson => ndjson(&list, &page),
                };
                Ok((out, page.next))
            })
            .await?;
        self.begun = true;
        self.done = next.is_none();
        // What we have just made is readable.
        self.list.cursor = next.and_then(|cursor| Cursor::decode(&cursor, &self.list));
        Ok(out.into())
    }
}

fn parse(noun: &'static Noun, query: &str, business: &Business) -> Result<(Format, List)> {
    let mut faults = Vec::new();
    let mut fault = |name: &str, code, detail: String| faults.push(Fault::new(format!("/query/{name}"), code, detail));
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
    let list = match List::parse(noun, &rest.finish(), business) {
        Ok(list) => Some(list),
        Err(Error::Malformed { faults: more, .. }) => {
            faults.extend(more);
            None
        }
        Err(error) => return Err(error),
    };
    if let Some(list) = &list
        && format == Format::Csv
        && let Some((relation, _)) = list.view.include.iter().find(|(relation, _)| relation.arity != Arity::One)
    {
        let name = relation.name;
        let detail = format!("`{name}` has no place in a line of CSV: many belong to one row. Use `format=ndjson`.");
        faults.push(Fault::new("/query/include", "out_of_range", detail));
    }
    match list {
        Some(list) if faults.is_empty() => Ok((format, List { limit: PAGE, ..list })),
        _ => Err(Error::parameters(faults)),
    }
}

fn ndjson(list: &List, page: &store::Page) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.rows.len() * 1024);
    for row in &page.rows {
        out.extend_from_slice(&store::row(list.noun, &list.view, row, &page.related).json);
        out.push(b'\n');
    }
    out
}

/// The columns of a line: what is shown of the row, and of each row that it links, with the place of its cell.
fn columns(noun: &'static Noun, view: &View) -> Vec<(String, &'static Field, usize)> {
    let mut columns = Vec::new();
    let mut add = |prefix: &str, noun: &'static Noun, shown: json::Shown, offset: usize| {
        let fields = noun.fields.iter().enumerate();
        let fields = fields.filter(|(index, _)| shown.is_none_or(|mask| mask & (1 << index) != 0));
        columns.extend(fields.map(|(index, field)| (format!("{prefix}{}", field.name), field, offset + index)));
    };
    add("", noun, view.shown, 0);
    let mut offset = noun.fields.len();
    for (relation, shown) in &view.include {
        add(&format!("{}.", relation.name), relation.noun, *shown, offset);
        offset += relation.noun.fields.len();
    }
    columns
}

fn csv(list: &List, rows: &[Cells], header: bool) -> Result<Vec<u8>> {
    let columns = columns(list.noun, &list.view);
    let mut lines = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let failed = |error: csv::Error| Error::Internal(format!("a line of CSV: {error}"));
    if header {
        lines.write_record(columns.iter().map(|(name, _, _)| name)).map_err(failed)?;
    }
    for row in rows {
        let cells = columns.iter().map(|(_, field, place)| row.get(*place).map(|cell| text(field.kind, cell)));
        lines.write_record(cells.map(Option::unwrap_or_default)).map_err(failed)?;
    }
    lines.into_inner().map_err(|error| Error::Internal(format!("a line of CSV: {error}")))
}

/// A cell as a spreadsheet shows it, and as an import reads it.
fn text(kind: Kind, cell: &[u8]) -> Vec<u8> {
    let text = match kind {
        Kind::Tags => labels(cell),
        _ => json::plain(kind, cell),
    };
    // Numbers, times and the like are ours and begin nothing.
    if is_free(kind) { escape_formula(&text).into_owned() } else { text }
}

/// `vip;new`, or a JSON array where a label has a separator in it, or what else would not be read as it is.
fn labels(cell: &[u8]) -> Vec<u8> {
    let labels = json::labels(cell);
    let is_plain = |label: &&[u8]| {
        std::str::from_utf8(label).is_ok_and(|label| !label.contains([',', ';', '|', '[']) && label.trim() == label)
    };
    if labels.iter().all(is_plain) { labels.join(&b';') } else { json::plain(Kind::Tags, cell) }
}

fn is_free(kind: Kind) -> bool {
    use Kind::*;
    !matches!(kind, Uuid | Int { .. } | Bool | Time | Date | Decimal | Object)
}

/// A text that a spreadsheet would take for a formula gets an apostrophe in front, which marks it as text (OWASP, CSV
/// injection). A phone number in E.164 is none: a sign and digits. A text that has such an apostrophe of its own gets another
/// one, so that [`unescape_formula`] gives back each text as it was.
pub fn escape_formula(text: &[u8]) -> Cow<'_, [u8]> {
    let number = matches!(text.split_first(), Some((b'+', digits)) if digits.iter().all(u8::is_ascii_digit));
    if number || !is_formula(text) { Cow::Borrowed(text) } else { Cow::Owned([b"'", text].concat()) }
}

/// The text that [`escape_formula`] made `text` of.
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
    fn what_a_spreadsheet_would_compute_is_text() {
        for formula in ["=1+1", "+1+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "+49 (0) 30", "+1|calc", "'=1", "''+49"] {
            assert_eq!(*escape_formula(formula.as_bytes()), format!("'{formula}").into_bytes());
        }
        for text in ["", "Anna", "+4915112345678", "a=1", " =1", "'Tis", "'"] {
            assert_eq!(*escape_formula(text.as_bytes()), *text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn unescape_formula_gives_back_what_was_escaped(text in "['=+\\-@\t0-9 a]{0,6}") {
            let escaped = escape_formula(text.as_bytes()).into_owned();
            prop_assert_eq!(unescape_formula(std::str::from_utf8(&escaped).expect("text")), text);
        }
    }
}
