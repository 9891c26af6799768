//! The report of refused rows: a CSV file that begins to exist with the first of them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::rows::Row;
use crate::db::target::BoxError;
use crate::error::Fault;
use crate::noun::export::escape_formula;

/// Row number, the original cells, pointer, code and detail; one line for each fault.
pub struct Report {
    path: PathBuf,
    headers: Vec<String>,
    writer: Option<csv::Writer<File>>,
}

impl Report {
    pub fn new(path: PathBuf, headers: &[String]) -> Self {
        let headers = headers.to_vec();
        Self { path, headers, writer: None }
    }

    /// Notes why `row` was refused.
    pub fn add(&mut self, row: &Row, faults: &[Fault]) -> Result<(), BoxError> {
        self.write(row, faults)
            .map_err(|error| format!("cannot write the report {}: {error}", self.path.display()).into())
    }

    fn write(&mut self, row: &Row, faults: &[Fault]) -> csv::Result<()> {
        if self.writer.is_none() {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_path(&self.path)?;
            headers(&mut writer, &self.headers)?;
            self.writer = Some(writer);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        for Fault { pointer, code, detail } in faults {
            line(writer, self.headers.len(), row.number, &row.record, [pointer, code, detail])?;
        }
        Ok(())
    }

    /// Completes the file, if there is one.
    pub fn finish(&mut self) -> Result<(), BoxError> {
        match &mut self.writer {
            Some(writer) => writer
                .flush()
                .map_err(|error| format!("cannot write the report {}: {error}", self.path.display()).into()),
            None => Ok(()),
        }
    }

    /// Where it is, if there is something in it.
    pub fn path(&self) -> Option<&Path> {
        self.writer.as_ref().map(|_| self.path.as_path())
    }
}

/// The first line of a report of a file with these columns.
pub fn headers<W: Write>(writer: &mut csv::Writer<W>, columns: &[String]) -> csv::Result<()> {
    writer.write_field("row")?;
    columns.iter().try_for_each(|header| writer.write_field(escape_formula(header.as_bytes())))?;
    writer.write_record(["pointer", "code", "detail"])
}

/// A fault of row `number`: pointer, code, detail. Cells are as they were, also where they are not UTF-8, but for formulas, which
/// are escaped as in exports; what a row has more than `width` comes last, so that columns align.
pub fn line<W: Write>(
    writer: &mut csv::Writer<W>,
    width: usize,
    number: u64,
    record: &csv::ByteRecord,
    fault: [&str; 3],
) -> csv::Result<()> {
    writer.write_field(number.to_string())?;
    let mut cells = record.iter().map(escape_formula);
    for _ in 0..width {
        writer.write_field(cells.next().unwrap_or_default())?;
    }
    fault.iter().try_for_each(|cell| writer.write_field(cell))?;
    cells.try_for_each(|cell| writer.write_field(cell))?;
    writer.write_record(None::<&[u8]>)
}
