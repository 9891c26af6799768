//! Parses the first line of a CSV file: detects the separator and reads the column headers.

use csv::ByteRecord;

use crate::resource::export::unescape_formula;

/// Returns the separator which occurs most often in the first line, outside quotes.
pub fn delimiter(start: &[u8]) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for byte in start.iter().take_while(|byte| **byte != b'\n') {
        quoted ^= *byte == b'"';
        for (delimiter, count) in &mut counts {
            *count += usize::from(!quoted && byte == delimiter);
        }
    }
    // `max_by_key` returns the last maximum, so the comma comes last.
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map_or(b',', |(delimiter, _)| delimiter)
}

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
