//! Reads the column headers from the first line of a CSV file.

use csv::ByteRecord;

use crate::resource::export::unescape_formula;

/// Returns the headers, trimmed and made unique. Errors: there are none, or they are not UTF-8.
pub fn headers(record: &ByteRecord) -> Result<Vec<String>, String> {
    if record.iter().next().is_some_and(|cell| cell.starts_with(b"\xff\xfe") || cell.starts_with(b"\xfe\xff")) {
        return Err("the file is in UTF-16; save it as UTF-8".into());
    }
    let mut headers: Vec<String> = Vec::with_capacity(record.len());
    for (index, cell) in record.iter().enumerate() {
        let text = std::str::from_utf8(cell)
            .map_err(|_| format!("row 1: the header of column {} is not UTF-8; save the file as UTF-8", index + 1))?;
        let name = match unescape_formula(text.trim()) {
            "" => format!("column_{}", index + 1),
            name => name.to_owned(),
        };
        let unique = free(&name, |name| headers.iter().any(|other| other == name));
        headers.push(unique);
    }
    if record.iter().all(<[u8]>::is_empty) {
        return Err("the file is empty; its first line must be a header".into());
    }
    Ok(headers)
}

/// Returns `name`, or the first of `name_2`, `name_3`, … which is not taken.
pub fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken(name)).unwrap_or_default()
}
