//! The CSV format of a report of refused rows: row number, the original cells, pointer, code and detail.

use std::io::Write;

use crate::resource::export::escape_formula;

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
