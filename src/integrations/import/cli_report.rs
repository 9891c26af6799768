//! CSV report of refused rows. The command `rapport import` creates its file with the first one.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::row_parser::Row;
use crate::base::error::BoxError;
use crate::base::error::FieldError;
use crate::resource::export::escape_formula;

/// One line per error: row number, the original cells, pointer, code and detail.
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

    /// Adds the errors of a refused row.
    pub fn add(&mut self, row: &Row, faults: &[FieldError]) -> Result<(), BoxError> {
        self.write(row, faults)
            .map_err(|error| format!("cannot write the report {}: {error}", self.path.display()).into())
    }

    fn write(&mut self, row: &Row, faults: &[FieldError]) -> csv::Result<()> {
        if self.writer.is_none() {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_path(&self.path)?;
            headers(&mut writer, &self.headers)?;
            self.writer = Some(writer);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        for FieldError { pointer, code, detail } in faults {
            line(writer, self.headers.len(), row.number, &row.record, [pointer, code, detail])?;
        }
        Ok(())
    }

    /// Flushes the file, if it was created.
    pub fn finish(&mut self) -> Result<(), BoxError> {
        match &mut self.writer {
            Some(writer) => writer
                .flush()
                .map_err(|error| format!("cannot write the report {}: {error}", self.path.display()).into()),
            None => Ok(()),
        }
    }

    /// Path of the report, if it was created.
    pub fn path(&self) -> Option<&Path> {
        self.writer.as_ref().map(|_| self.path.as_path())
    }
}

/// Writes the header of a report for a file with these columns.
pub fn headers<W: Write>(writer: &mut csv::Writer<W>, columns: &[String]) -> csv::Result<()> {
    writer.write_field("row")?;
    columns.iter().try_for_each(|header| writer.write_field(escape_formula(header.as_bytes())))?;
    writer.write_record(["pointer", "code", "detail"])
}

/// Writes an error (pointer, code, detail) of row `number`. Cells keep their bytes, even if not UTF-8, but formulas are
/// escaped as in exports. Cells beyond `width` come last, so that columns align.
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
