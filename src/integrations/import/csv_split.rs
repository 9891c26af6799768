//! Splits CSV (RFC 4180) into records and detects quotes which are never closed.
//!
//! Most readers take such a quote for a cell which reaches to the end of the file, and lose the rows in it without an
//! error. Here a quoted cell is an open quote if the file ends in it, if it is longer than any field allows, or if it
//! spans lines and continues after its closing quote, which then was the opening quote of another row. Quotes in an
//! unquoted cell are data.

use csv::ByteRecord;

/// Maximum length of a quoted cell. The longest field is `metadata` with 64 KiB, whose quotes are doubled in a cell.
pub const MAX_QUOTED_LEN: usize = 128 * 1024;

/// Splits a line into cells, as far as possible.
pub fn cells(line: &[u8], separator: u8) -> ByteRecord {
    let mut cells = ByteRecord::new();
    if !line.is_empty() {
        split(line, separator, true, &mut cells);
    }
    cells
}

/// Result of [`split`].
pub enum Split {
    /// A complete record of this many bytes, with its line break.
    Whole(usize),
    /// The bytes end before the record does.
    Partial,
    /// A quote is not closed before the end of the file or within [`MAX_QUOTED_LEN`] bytes.
    Open,
    /// A cell spans lines and continues after its closing quote; bytes up to the end of that line.
    Stray(usize),
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Start,
    Plain,
    Quoted,
    /// After a quote within a quoted cell: it ends the cell, or is the first of a doubled quote.
    Quote,
    /// After blanks that follow the closing quote.
    Closed,
}

/// Splits off the first record of `bytes`. `complete`: the file ends with them.
pub fn split(bytes: &[u8], separator: u8, complete: bool, cells: &mut ByteRecord) -> Split {
    cells.clear();
    let (mut state, mut cell, mut opened, mut spans) = (State::Start, Vec::new(), 0, false);
    for (at, &byte) in bytes.iter().enumerate() {
        state = match (state, byte) {
            (State::Start, b'"') => {
                opened = at;
                State::Quoted
            }
            (State::Quoted, b'"') => State::Quote,
            (State::Quoted, _) => {
                if at - opened > MAX_QUOTED_LEN {
                    return Split::Open;
                }
                spans |= byte == b'\n';
                cell.push(byte);
                State::Quoted
            }
            (State::Quote, b'"') => {
                cell.push(byte);
                State::Quoted
            }
            (_, byte) if byte == separator => {
                cells.push_field(&cell);
                cell.clear();
                spans = false;
                State::Start
            }
            (_, b'\r' | b'\n') => {
                cells.push_field(&cell);
                let pair = byte == b'\r' && bytes.get(at + 1) == Some(&b'\n');
                return Split::Whole(at + 1 + usize::from(pair));
            }
            (State::Quote | State::Closed, b' ' | b'\t') => {
                cell.push(byte);
                State::Closed
            }
            (State::Quote | State::Closed, _) if spans => {
                return match bytes[at..].iter().position(|byte| *byte == b'\n') {
                    Some(rest) => Split::Stray(at + rest + 1),
                    None if complete => Split::Stray(bytes.len()),
                    None => Split::Partial,
                };
            }
            _ => {
                cell.push(byte);
                State::Plain
            }
        };
    }
    match (complete, state) {
        (false, _) => Split::Partial,
        (true, _) if bytes.is_empty() => Split::Partial,
        (true, State::Quoted) => {
            cells.push_field(cell.trim_ascii_end());
            Split::Open
        }
        (true, _) => {
            cells.push_field(&cell);
            Split::Whole(bytes.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Input without an open quote is split as the csv crate splits it.
        #[test]
        fn split_agrees_with_the_csv_crate(rows in prop::collection::vec(prop::collection::vec("[a,\"\n\r ']{0,6}", 2..4), 1..8)) {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            rows.iter().for_each(|row| writer.write_record(row).expect("a row"));
            let bytes = writer.into_inner().expect("bytes");
            let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(&bytes[..]);
            let expected: Vec<ByteRecord> = reader.byte_records().map(|record| record.expect("a record")).collect();
            let (mut at, mut found) = (0, Vec::new());
            while at < bytes.len() {
                let mut cells = ByteRecord::new();
                match split(&bytes[at..], b',', true, &mut cells) {
                    Split::Whole(length) => at += length,
                    _ => prop_assert!(false, "{:?}", String::from_utf8_lossy(&bytes)),
                }
                found.push(cells);
            }
            prop_assert_eq!(found, expected);
        }
    }
}
