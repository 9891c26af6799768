//! Rows in PostgreSQL's binary format, for list queries: they write the cells straight to JSON, which would otherwise take
//! most of their time. All other statements load named structs.

use diesel::deserialize::{self, QueryableByName};
use diesel::pg::Pg;
use diesel::row::{Field, NamedRow, Row};
use uuid::Uuid;

/// One row as PostgreSQL's binary protocol transfers it: the cells end to end.
#[derive(Clone, Debug)]
pub struct RawRow {
    bytes: Vec<u8>,
    /// End of each cell in `bytes`; [`RawRow::NULL`] marks NULL.
    ends: Vec<u32>,
}

impl RawRow {
    const NULL: u32 = 1 << 31;

    /// Returns the cell at `index` in PostgreSQL's binary format, or `None` for NULL.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        if end & Self::NULL != 0 {
            return None;
        }
        let start = match index.checked_sub(1) {
            Some(before) => self.ends[before] & !Self::NULL,
            None => 0,
        };
        self.bytes.get(start as usize..end as usize)
    }

    pub fn uuid(&self, index: usize) -> Option<Uuid> {
        Uuid::from_slice(self.get(index)?).ok()
    }

    pub fn int(&self, index: usize) -> Option<i64> {
        let cell = self.get(index)?;
        match cell.len() {
            8 => Some(i64::from_be_bytes(cell.try_into().ok()?)),
            4 => Some(i32::from_be_bytes(cell.try_into().ok()?).into()),
            2 => Some(i16::from_be_bytes(cell.try_into().ok()?).into()),
            _ => None,
        }
    }

    pub fn text(&self, index: usize) -> Option<&str> {
        std::str::from_utf8(self.get(index)?).ok()
    }
}

impl QueryableByName<Pg> for RawRow {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let count = row.field_count();
        let mut cells = RawRow { bytes: Vec::with_capacity(512), ends: Vec::with_capacity(count) };
        for index in 0..count {
            let field = Row::get(row, index).ok_or(diesel::result::UnexpectedEndOfRow)?;
            let null = match field.value() {
                Some(value) => {
                    cells.bytes.extend_from_slice(value.as_bytes());
                    0
                }
                None => RawRow::NULL,
            };
            cells.ends.push(cells.bytes.len() as u32 | null);
        }
        Ok(cells)
    }
}
