//! CSV report of refused rows. The command `rapport import` creates its file with the first one.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::report_format;
use super::row::Row;
use crate::base::error::{BoxError, FieldError};

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
            report_format::headers(&mut writer, &self.headers)?;
            self.writer = Some(writer);
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        for FieldError { pointer, code, detail } in faults {
            report_format::line(writer, self.headers.len(), row.number, &row.record, [pointer, code, detail])?;
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
