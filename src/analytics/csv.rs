//! Statistics as CSV (RFC 4180): a line for each bucket and group, or one for an overview.

use serde_json::Value as Json;

use crate::base::error::{Error, Result};
use crate::resource::export::escape_formula;

/// Writes a response as CSV: the lines are its `data`, or it is one line itself. Members of objects become columns with a dot, as
/// do amounts by currency: `revenue.EUR`. `first` are the columns of a file without lines, before those of `total`.
pub fn write(response: &Json, first: &[&str]) -> Result<Vec<u8>> {
    let lines: Vec<Vec<(String, String)>> = match response.get("data").and_then(Json::as_array) {
        Some(data) => data.iter().map(cells).collect(),
        None => vec![cells(response)],
    };
    // The columns of no lines are those of a line of nothing.
    let nothing = response.get("total").map(cells).unwrap_or_default();
    let mut columns: Vec<&str> = match lines.is_empty() {
        true => first.iter().copied().chain(nothing.iter().map(|(name, _)| name.as_str())).collect(),
        false => Vec::new(),
    };
    for (name, _) in lines.iter().flatten() {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let failed = |error: csv::Error| Error::Internal(format!("a line of CSV: {error}"));
    let mut out = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if !columns.is_empty() {
        out.write_record(&columns).map_err(failed)?;
    }
    for line in &lines {
        let cell = |column: &&str| {
            let cell = line.iter().find(|(name, _)| name == column);
            cell.map_or("", |(_, text)| text)
        };
        out.write_record(columns.iter().map(cell)).map_err(failed)?;
    }
    out.into_inner().map_err(|error| Error::Internal(format!("a line of CSV: {error}")))
}

fn cells(row: &Json) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    add(&mut cells, String::new(), row);
    cells
}

fn add(cells: &mut Vec<(String, String)>, name: String, value: &Json) {
    let below = |member: &str| if name.is_empty() { member.to_owned() } else { format!("{name}.{member}") };
    match value {
        Json::Object(members) => {
            members
                .iter()
                .filter(|(member, _)| *member != "data")
                .for_each(|(member, value)| add(cells, below(member), value));
        }
        // Amounts by currency.
        Json::Array(amounts) => {
            for amount in amounts {
                let currency = amount.get("currency").and_then(Json::as_str).unwrap_or("none");
                add(cells, below(currency), amount.get("amount").unwrap_or(&Json::Null));
            }
        }
        // A source may be any text. (Numbers are ours, and may be negative.)
        Json::String(text) => {
            let escaped = escape_formula(text.as_bytes()).into_owned();
            cells.push((name, String::from_utf8_lossy(&escaped).into_owned()));
        }
        Json::Null => cells.push((name, String::new())),
        other => cells.push((name, other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::write;

    #[test]
    fn lines_have_a_column_for_each_currency() {
        let money = |currency: &str, amount: i64| json!({ "currency": currency, "amount": amount });
        let response = json!({ "from": "2026-11-01", "data": [
            { "bucket": "2026-11-01", "group": "=1+1", "bookings": 2, "revenue": [money("EUR", 5)] },
            { "bucket": "2026-11-02", "group": null, "bookings": 1, "revenue": [money("EUR", -6), money("USD", 7)] },
        ] });
        let csv = String::from_utf8(write(&response, &[]).expect("CSV")).expect("text");
        let expected =
            "bucket,group,bookings,revenue.EUR,revenue.USD\\r\\n2026-11-01,'=1+1,2,5,\\r\\n2026-11-02,,1,-6,7\\r\\n";
        assert_eq!(csv, expected.replace("\\r\\n", "\r\n"));
    }
}
