//! What stands in a thread and is not said to the customer; `rapport_is_said` is the same in SQL.

/// The kind of what members write for each other: shown in the thread, and never sent.
pub const NOTE: &str = "note";
/// The status of a proposal that waits for a person: shown in the thread, and not sent.
pub const DRAFT: &str = "draft";
