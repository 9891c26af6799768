//! Reads the file of an import chunk by chunk, and parses the next chunk while the database writes one.

use std::thread;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::csv_reader::{OpenQuote, Records};
use super::file_store::IMPORT_FILES;
use super::match_keys::ChunkKeys;
use super::row::Row;
use super::row_parser::Parser;
use super::stored_import::Import;
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::{Error, FieldError, Result};
use crate::db::Tx;

/// Rows per chunk: enough to amortize the cost of a transaction, few enough not to hold locks for long.
const ROWS: usize = 1_000;
/// Bytes of the file which are read for a chunk at first.
const WINDOW: usize = 256 * 1024;
/// Maximum bytes of one row, several times what its fields can hold.
const MAX_ROW_LEN: usize = 1024 * 1024;

/// A place between two rows of the file.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// Bytes before it.
    pub offset: u64,
    /// Number of the last row before it; the header of a CSV file is row 1.
    pub number: u64,
    /// The unclosed quote, while its rows are refused.
    pub open: Option<OpenQuote>,
}

/// Rows of the file, no two of which may match the same database row.
pub struct Chunk {
    /// Empty: there were only blank lines.
    pub rows: Vec<Row>,
    /// Refused lines without a row of their own.
    pub uncounted: i64,
    /// Where the next chunk begins.
    pub next: Position,
}

/// A chunk which was parsed while the one before it was written.
pub struct Prefetched {
    at: u64,
    /// The settings with which it was parsed: they may change between two steps.
    business: TenantSettings,
    chunk: Chunk,
}

impl Prefetched {
    /// Returns the chunk, if it is the one at `offset` as `business` reads it.
    pub fn of(self, offset: u64, business: &TenantSettings) -> Option<Chunk> {
        (self.at == offset && self.business == *business).then_some(self.chunk)
    }
}

/// Reads the file of one import.
pub struct ChunkReader {
    import: Uuid,
    is_csv: bool,
    separator: u8,
    bytes: u64,
    parser: Parser,
}

impl ChunkReader {
    /// Errors: 422 with every error of the mapping.
    pub fn new(import: &Import, business: &TenantSettings) -> Result<Self> {
        let mapping = import.column_mapping()?;
        let parser = Parser { resource: import.resource, mapping, business: business.clone() };
        let (is_csv, separator) = (import.format == "csv", import.separator);
        Ok(Self { import: import.id, is_csv, separator, bytes: import.bytes, parser })
    }

    /// Reads the chunk at `at`. Errors: 422 for a row which is too long, and for unreadable headers; 409 when the file
    /// is gone.
    pub fn read(&self, tx: &mut Tx<'_>, tenant: &Tenant, at: Position) -> Result<Chunk> {
        for window in [WINDOW, MAX_ROW_LEN + 1] {
            let piece = IMPORT_FILES.piece(tx, tenant, self.import, at.offset, window)?;
            if piece.is_empty() && at.offset < self.bytes {
                return Err(Error::conflict("file_gone", "The file is not kept any more. Upload it again."));
            }
            if let Some(chunk) = self.parse(&piece, at)? {
                return Ok(chunk);
            }
        }
        let detail = format!(
            "The row after row {} has more than {MAX_ROW_LEN} bytes; what was imported before it stays.",
            at.number
        );
        Err(Error::Invalid(vec![FieldError::new("", "row_too_long", detail)]))
    }

    /// Runs `write`, and parses the chunk at `at` meanwhile. `None`: it could not be parsed ahead, because the file ends
    /// before it or for a reason which [`ChunkReader::read`] reports.
    pub fn prefetch<T>(
        &self,
        tx: &mut Tx<'_>,
        tenant: &Tenant,
        at: Position,
        write: impl FnOnce(&mut Tx<'_>) -> Result<T>,
    ) -> Result<(T, Option<Prefetched>)> {
        if at.offset >= self.bytes {
            return Ok((write(tx)?, None));
        }
        let piece = IMPORT_FILES.piece(tx, tenant, self.import, at.offset, WINDOW)?;
        thread::scope(|scope| {
            let parse = || self.parse(&piece, at);
            let parsing = thread::Builder::new().name("import-parser".into()).spawn_scoped(scope, parse);
            let written = write(tx)?;
            let parsed = parsing.ok().and_then(|parsing| parsing.join().ok()?.ok()?);
            let prefetched = |chunk| Prefetched { at: at.offset, business: self.parser.business.clone(), chunk };
            Ok((written, parsed.map(prefetched)))
        })
    }

    /// Parses the rows of `piece`, which is at `at` in the file. `None`: no row is complete. Errors: 422 for unreadable
    /// headers.
    fn parse(&self, piece: &[u8], at: Position) -> Result<Option<Chunk>> {
        let is_last = at.offset + piece.len() as u64 >= self.bytes;
        if self.is_csv { self.parse_csv(piece, is_last, at) } else { Ok(self.parse_json(piece, is_last, at)) }
    }

    fn parse_csv(&self, piece: &[u8], is_last: bool, at: Position) -> Result<Option<Chunk>> {
        let wrong = |error: std::io::Error| Error::Invalid(vec![FieldError::new("", "file", error.to_string())]);
        let mut records = match at.offset {
            0 => Records::new(piece, self.separator, is_last),
            offset => Records::resume(piece, self.separator, is_last, offset, at.number, at.open),
        };
        if at.offset == 0 {
            records.header().map_err(wrong)?;
        }
        let (mut keys, mut rows, mut next) = (ChunkKeys::default(), Vec::new(), None);
        while rows.len() < ROWS {
            let Some(record) = records.next().transpose().map_err(wrong)? else { break };
            let row = self.parser.row(record);
            if !keys.add(&row) {
                // Left to the next chunk, which finds what this one has written.
                next = Some(Position { offset: row.offset, number: row.number - 1, open: None });
                break;
            }
            rows.push(row);
        }
        let read_to = || Position { offset: records.offset(), number: records.number(), open: records.open() };
        let next = next.unwrap_or_else(read_to);
        if next.offset == at.offset && rows.is_empty() && !is_last {
            return Ok(None);
        }
        Ok(Some(Chunk { rows, uncounted: records.uncounted() as i64, next }))
    }

    fn parse_json(&self, piece: &[u8], is_last: bool, at: Position) -> Option<Chunk> {
        let (mut keys, mut rows, mut from, mut next) = (ChunkKeys::default(), Vec::new(), 0, at);
        while from < piece.len() {
            let rest = &piece[from..];
            let (line, length) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(end) => (&rest[..end], end + 1),
                None if is_last => (rest, rest.len()),
                None => break,
            };
            let number = next.number + 1;
            if !line.trim_ascii().is_empty() {
                let (offset, record, length) = (next.offset, csv::ByteRecord::new(), line.len() as u64);
                let row = Row { number, record, offset, length, parsed: self.parser.parse_json(line) };
                if rows.len() == ROWS || !keys.add(&row) {
                    break;
                }
                rows.push(row);
            }
            next = Position { offset: next.offset + length as u64, number, open: None };
            from += length;
        }
        (from > 0 || piece.is_empty()).then_some(Chunk { rows, uncounted: 0, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefetched_chunk_counts_only_at_its_place_and_under_its_settings() {
        let business = TenantSettings::nowhere();
        let chunk = || Chunk { rows: Vec::new(), uncounted: 0, next: Position::default() };
        let prefetched = |at| Prefetched { at, business: business.clone(), chunk: chunk() };
        assert!(prefetched(7).of(7, &business).is_some());
        assert!(prefetched(7).of(8, &business).is_none());
        let moved = TenantSettings { country: "NZ".into(), ..business.clone() };
        assert!(prefetched(7).of(7, &moved).is_none());
    }
}
