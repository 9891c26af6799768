//! Streaming CSV reader. The lines after an unclosed quote are refused one by one, instead of becoming one cell which
//! reaches to the end of the file.

use std::io::{self, Read};

use csv::ByteRecord;
use serde::{Deserialize, Serialize};

use super::csv_split::{MAX_QUOTED_LEN, Split, cells, split};
use crate::base::error::FieldError;

/// Lines after an open quote which are refused one by one; of later ones only the count is reported.
pub const MAX_LISTED_LINES: u64 = 1_000;
/// Bytes read from the input at once.
const READ_LEN: usize = 64 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A record of the file.
#[derive(Debug)]
pub struct Record {
    /// Row number as in a spreadsheet: the header is row 1.
    pub number: u64,
    pub cells: ByteRecord,
    /// Byte offset in the file.
    pub offset: u64,
    pub length: u64,
    /// Why the record is refused.
    pub fault: Option<FieldError>,
}

/// An unclosed quote whose lines are being refused.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct OpenQuote {
    /// The row which opens the quote.
    row: u64,
    /// Byte at which normal reading resumes; `None`: the rest of the file is refused.
    until: Option<u64>,
    listed: u64,
    unlisted: u64,
}

/// Iterator over the records of a file, from a given byte on.
pub struct Records<R> {
    input: R,
    separator: u8,
    /// Whether the input ends at the end of the file.
    complete: bool,
    ended: bool,
    buffer: Vec<u8>,
    at: usize,
    offset: u64,
    number: u64,
    open: Option<OpenQuote>,
    /// Refused lines without a record of their own.
    uncounted: u64,
}

impl<R: Read> Records<R> {
    /// Reads a file from its first byte.
    pub fn new(input: R, separator: u8, complete: bool) -> Self {
        let (buffer, open) = (Vec::new(), None);
        Self { input, separator, complete, ended: false, buffer, at: 0, offset: 0, number: 0, open, uncounted: 0 }
    }

    /// Resumes at byte `offset`, after row `number`, with the [open quote](Self::open) of the earlier reader.
    pub fn resume(input: R, separator: u8, complete: bool, offset: u64, number: u64, open: Option<OpenQuote>) -> Self {
        Self { offset, number, open, ..Self::new(input, separator, complete) }
    }

    /// Byte offset of the next record.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Number of the last row read, including rows of empty cells.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The open quote whose lines are being refused.
    pub fn open(&self) -> Option<OpenQuote> {
        self.open
    }

    /// Number of refused lines without a record.
    pub fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// Reads the header. Errors: those of the input; an unclosed quote in the header.
    pub fn header(&mut self) -> io::Result<ByteRecord> {
        let mut cells = ByteRecord::new();
        loop {
            let is_end = self.is_end();
            if self.offset == 0 && self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.advance(BYTE_ORDER_MARK.len());
            }
            self.skip_empty_lines();
            match split(&self.buffer[self.at..], self.separator, is_end, &mut cells) {
                Split::Whole(length) => {
                    self.advance(length);
                    self.number = 1;
                    return Ok(cells);
                }
                Split::Open | Split::Stray(_) => {
                    let detail = "a quote in the first line, which has the headers, is not closed";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
                }
                Split::Partial if self.ended => return Ok(ByteRecord::new()),
                Split::Partial => self.fill()?,
            }
        }
    }

    fn is_end(&self) -> bool {
        self.ended && self.complete
    }

    fn advance(&mut self, length: usize) {
        self.at += length;
        self.offset += length as u64;
    }

    fn skip_empty_lines(&mut self) {
        let rest = &self.buffer[self.at..];
        let empty = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.advance(empty);
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let before = self.buffer.len();
        let read = self.input.by_ref().take(READ_LEN as u64).read_to_end(&mut self.buffer);
        self.ended = read? == 0;
        debug_assert!(self.ended || self.buffer.len() > before);
        Ok(())
    }

    /// Reads the next record; `None` when no complete one is left in the input.
    fn read(&mut self) -> io::Result<Option<Record>> {
        let mut cells = ByteRecord::new();
        loop {
            self.skip_empty_lines();
            if let Some(open) = self.open {
                match self.refused(open)? {
                    Refused::Line(record) => return Ok(Some(record)),
                    Refused::None => return Ok(None),
                    Refused::Over => self.open = None,
                }
                continue;
            }
            match split(&self.buffer[self.at..], self.separator, self.is_end(), &mut cells) {
                Split::Whole(length) => {
                    let offset = self.offset;
                    self.advance(length);
                    self.number += 1;
                    // Spreadsheets leave rows of empty cells at the end.
                    if cells.iter().any(|cell| !cell.trim_ascii().is_empty()) {
                        let (number, length) = (self.number, length as u64);
                        return Ok(Some(Record { number, cells, offset, length, fault: None }));
                    }
                }
                Split::Open => {
                    self.open = Some(OpenQuote { row: self.number + 1, until: None, listed: 0, unlisted: 0 })
                }
                Split::Stray(length) => {
                    let until = Some(self.offset + length as u64);
                    self.open = Some(OpenQuote { row: self.number + 1, until, listed: 0, unlisted: 0 });
                }
                Split::Partial if self.ended => return Ok(None),
                Split::Partial => self.fill()?,
            }
        }
    }

    /// Reads the next line refused because of `open`.
    fn refused(&mut self, mut open: OpenQuote) -> io::Result<Refused> {
        loop {
            self.skip_empty_lines();
            let rest = &self.buffer[self.at..];
            let length = match rest.iter().position(|byte| *byte == b'\n') {
                _ if open.until.is_some_and(|until| self.offset >= until) => 0,
                Some(at) => at + 1,
                None if self.is_end() || rest.len() >= MAX_QUOTED_LEN => rest.len(),
                None if self.ended => return Ok(Refused::None),
                None => {
                    self.fill()?;
                    continue;
                }
            };
            if length == 0 {
                return Ok(self.summary(open));
            }
            let (line, offset) = (&rest[..length], self.offset);
            let cells = cells(line, self.separator);
            self.advance(length);
            self.number += 1;
            if open.listed < MAX_LISTED_LINES {
                open.listed += 1;
                self.open = Some(open);
                let (number, length, fault) = (self.number, length as u64, Some(open.fault(self.number)));
                return Ok(Refused::Line(Record { number, cells, offset, length, fault }));
            }
            // The summary record stands for the first unlisted line.
            self.uncounted += u64::from(open.unlisted > 0);
            open.unlisted += 1;
            self.open = Some(open);
        }
    }

    /// Returns, once, a record for all lines which were not listed.
    fn summary(&mut self, open: OpenQuote) -> Refused {
        if open.unlisted == 0 {
            return Refused::Over;
        }
        self.open = Some(OpenQuote { unlisted: 0, ..open });
        let first = self.number + 1 - open.unlisted;
        let detail = format!(
            "Rows {first} to {} ({} in all) are refused too, as the {MAX_LISTED_LINES} before them: row {} opens a quote \
             that is not closed.",
            self.number, open.unlisted, open.row
        );
        let fault = Some(FieldError::new("", "unclosed_quote", detail));
        Refused::Line(Record { number: first, cells: ByteRecord::new(), offset: self.offset, length: 0, fault })
    }
}

enum Refused {
    Line(Record),
    /// Only part of a line is left.
    None,
    /// The quote affects no more lines.
    Over,
}

impl OpenQuote {
    fn fault(&self, number: u64) -> FieldError {
        const REMEDY: &str = "Close the quote, or double it (\"\") where it is meant, and import the file again.";
        let detail = match (number == self.row, self.until) {
            (true, None) => {
                format!("A quote is opened here and not closed, so this row and all after it are refused. {REMEDY}")
            }
            (true, Some(_)) => {
                format!("A quote is opened here and not closed before the next quote of another row. {REMEDY}")
            }
            (false, _) => {
                format!("Row {} opens a quote that is not closed, and this row is within it. {REMEDY}", self.row)
            }
        };
        FieldError::new("", "unclosed_quote", detail)
    }
}

impl<R: Read> Iterator for Records<R> {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `number:cell|cell`, with `!` where the record is refused.
    fn read(text: &str) -> Vec<String> {
        let mut records = Records::new(text.as_bytes(), b',', true);
        records.header().expect("a header");
        let shown = |record: Record| {
            let cells: Vec<_> = record.cells.iter().map(String::from_utf8_lossy).collect();
            format!("{}{}:{}", record.number, if record.fault.is_some() { "!" } else { "" }, cells.join("|"))
        };
        records.map(|record| shown(record.expect("no error of the input"))).collect()
    }

    #[test]
    fn read_unclosed_quote_refuses_its_line_and_the_rest() {
        let expected = ["2:Ann|a@x", "3!:Bo|b@x", "4!:Cy|c@x"];
        assert_eq!(read("name,email\nAnn,a@x\nBo,\"b@x\nCy,c@x\n"), expected);
        assert_eq!(read("name,email\n\"Ann,a@x"), ["2!:Ann,a@x"]);
    }

    #[test]
    fn read_quote_closed_by_another_row_refuses_the_lines_between() {
        let text = "name,email\n\"Ann,a@x\nBo,b@x\n\"Cy\",c@x\nDee,d@x\n";
        assert_eq!(read(text), ["2!:Ann,a@x", "3!:Bo|b@x", "4!:Cy|c@x", "5:Dee|d@x"]);
    }

    #[test]
    fn read_quotes_within_cells_are_data() {
        let text = "name,note\n5\" nail,a \"b\" c\n\"Ann \"The Boss\" B\",x\n\"two\nlines\" ,\"say \"\"hi\"\"\"\n";
        assert_eq!(read(text), ["2:5\" nail|a \"b\" c", "3:Ann The Boss\" B\"|x", "4:two\nlines |say \"hi\""]);
    }

    #[test]
    fn read_cell_longer_than_any_field_is_an_unclosed_quote() {
        let lines = "more of it\n".repeat(MAX_QUOTED_LEN / 8);
        let mut records = Records::new(std::io::Cursor::new(format!("a,b\n1,2\n\"{lines}")), b',', true);
        records.header().expect("a header");
        let read: Vec<Record> = records.by_ref().map(|record| record.expect("no error")).collect();
        assert_eq!(read.len() as u64, 1 + MAX_LISTED_LINES + 1);
        assert!(read[0].fault.is_none() && read[1..].iter().all(|record| record.fault.is_some()));
        let all = read.len() as u64 - 1 + records.uncounted();
        assert_eq!(all, (MAX_QUOTED_LEN / 8) as u64, "each line is refused, named or counted");
    }
}
