//! Which of the standard operations a resource has.

/// Which of the standard operations a resource has.
#[derive(Clone, Copy, Debug)]
pub struct Operations {
    pub create: bool,
    pub update: bool,
    pub delete: bool,
    /// Deleted rows stay for 30 days and can be restored; needs `deleted_at`.
    pub restore: bool,
    /// Many rows can be written at once (`batch/`); needs [`WriteOps::PLAIN`](super::WriteOps::PLAIN), of which only
    /// `restore` may be replaced.
    pub batch: bool,
}

impl Operations {
    pub const ALL: Self = Self { create: true, update: true, delete: true, restore: true, batch: true };
    pub const NONE: Self = Self { create: false, update: false, delete: false, restore: false, batch: false };
}
