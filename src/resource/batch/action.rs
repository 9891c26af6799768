//! The kinds of batches.

/// What is done to the rows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchAction {
    Create,
    Update,
    Upsert,
    Delete,
}

impl BatchAction {
    pub const ALL: [Self; 4] = [Self::Create, Self::Update, Self::Upsert, Self::Delete];

    /// The last segment of its path.
    pub const fn name(self) -> &'static str {
        match self {
            BatchAction::Create => "create",
            BatchAction::Update => "update",
            BatchAction::Upsert => "upsert",
            BatchAction::Delete => "delete",
        }
    }

    /// The name of its transaction in `/metrics`.
    pub(super) const fn work(self) -> &'static str {
        match self {
            BatchAction::Create => "batch_create",
            BatchAction::Update => "batch_update",
            BatchAction::Upsert => "batch_upsert",
            BatchAction::Delete => "batch_delete",
        }
    }

    /// The member of the body that holds its items.
    pub const fn list(self) -> &'static str {
        if matches!(self, BatchAction::Delete) { "ids" } else { "items" }
    }
}
