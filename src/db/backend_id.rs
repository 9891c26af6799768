//! Binds each prepared statement and each `BEGIN` to the PostgreSQL process (backend) of its connection, so that one
//! which reaches another backend fails there before it does anything. Neither costs a round trip.
//!
//! A connection pooler that shares connections may send one connection's statement to another connection's backend,
//! where the same name may stand for another statement. So the process id of the backend is encoded in the *types* of a
//! statement's parameters: four extra ones, empty arrays whose element types are the digits of that id. PostgreSQL
//! rejects a parameter of another type when it is bound, and two live backends never have the same id. The parameters
//! are in a comment, so the statement itself and its plan stay the same.

use std::io::Write;

use diesel::QueryResult;
use diesel::pg::{Pg, PgMetadataLookup, PgTypeMetadata};
use diesel::query_builder::AstPass;
use diesel::result::Error as DieselError;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{HasSqlType, SqlType, is_nullable};

const DIGITS: u32 = 4;
const BASE: u32 = ARRAYS.len() as u32;

/// Object ids of array types and of their elements. They are fixed in PostgreSQL's sources, and older than any release
/// that Rapport supports.
pub const ARRAYS: [(u32, u32); 48] = [
    (199, 114),
    (271, 5069),
    (629, 628),
    (651, 650),
    (719, 718),
    (775, 774),
    (791, 790),
    (1000, 16),
    (1001, 17),
    (1002, 18),
    (1003, 19),
    (1005, 21),
    (1007, 23),
    (1008, 24),
    (1009, 25),
    (1010, 27),
    (1011, 28),
    (1012, 29),
    (1014, 1042),
    (1015, 1043),
    (1016, 20),
    (1017, 600),
    (1018, 601),
    (1019, 602),
    (1020, 603),
    (1021, 700),
    (1022, 701),
    (1027, 604),
    (1028, 26),
    (1040, 829),
    (1041, 869),
    (1115, 1114),
    (1182, 1082),
    (1183, 1083),
    (1185, 1184),
    (1187, 1186),
    (1231, 1700),
    (1270, 1266),
    (1561, 1560),
    (1563, 1562),
    (2210, 2205),
    (2211, 2206),
    (2951, 2950),
    (3221, 3220),
    (3643, 3614),
    (3645, 3615),
    (3735, 3734),
    (3807, 3802),
];

/// Message with which the assertion of a backend fails.
pub(super) const ANOTHER_BACKEND: &str = "rapport: another backend than that of this connection";

/// The process id of a backend, as `pg_backend_pid()` returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BackendId(u32);

impl BackendId {
    /// Returns `None` when the id is larger than any process id of Linux, macOS or a BSD and cannot be encoded.
    pub(super) fn new(process: i32) -> Option<Self> {
        u32::try_from(process).ok().filter(|id| *id < BASE.pow(DIGITS)).map(Self)
    }

    /// Appends the parameters that only this backend accepts, in a comment.
    pub(super) fn push_parameters(self, out: &mut AstPass<'_, '_, Pg>) -> QueryResult<()> {
        let mut rest = self.0;
        out.push_sql("/*");
        for _ in 0..DIGITS {
            push_digit(out, rest % BASE)?;
            rest /= BASE;
        }
        out.push_sql("*/ ");
        Ok(())
    }

    /// Returns the process id.
    pub(super) fn process(self) -> u32 {
        self.0
    }
}

/// Whether the error means that a statement has reached another backend than its connection's, or that another client
/// has used the backend. diesel keeps no SQLSTATE, so messages are compared: they are Rapport's own, or contain the
/// name prefix that diesel gives a statement, or are in the language fixed by `lc_messages = C`.
pub(crate) fn is_of_another_backend(error: &DieselError) -> bool {
    let DieselError::DatabaseError(_, info) = error else { return false };
    let message = info.message();
    message.contains(ANOTHER_BACKEND)
        // 26000 and 42P05: no statement of that name, or one already. 08P01: it has another number of parameters.
        || message.contains("\"__diesel_stmt_")
        || message.starts_with("bind message supplies")
        // 42804: a digit of another backend's id.
        || message.starts_with("binary data has array element type")
        || message == "wrong element type"
}

/// The array type at `N` in [`ARRAYS`].
struct Digit<const N: usize>;

impl<const N: usize> SqlType for Digit<N> {
    type IsNull = is_nullable::NotNull;
}

impl<const N: usize> HasSqlType<Digit<N>> for Pg {
    fn metadata(_: &mut (dyn PgMetadataLookup + 'static)) -> PgTypeMetadata {
        PgTypeMetadata::new(ARRAYS[N].0, 0)
    }
}

#[derive(Debug)]
struct EmptyArray;

impl<const N: usize> ToSql<Digit<N>, Pg> for EmptyArray {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        // Dimensions, flags, type of the elements.
        for word in [0, 0, ARRAYS[N].1] {
            out.write_all(&word.to_be_bytes())?;
        }
        Ok(IsNull::No)
    }
}

macro_rules! push_digit_of {
    ($out:ident, $digit:ident: $($n:literal)*) => {
        match $digit {
            $($n => $out.push_bind_param::<Digit<$n>, _>(&EmptyArray),)*
            _ => Ok(()),
        }
    };
}

fn push_digit(out: &mut AstPass<'_, '_, Pg>, digit: u32) -> QueryResult<()> {
    push_digit_of!(out, digit: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33
        34 35 36 37 38 39 40 41 42 43 44 45 46 47)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_id_accepts_linux_pids_rejects_out_of_range() {
        assert!(BackendId::new(1 << 22).is_some());
        assert!(BackendId::new(-1).is_none() && BackendId::new(i32::MAX).is_none());
        let mut types: Vec<u32> = ARRAYS.iter().map(|(array, _)| *array).collect();
        types.dedup();
        assert_eq!(types.len(), ARRAYS.len());
    }
}
