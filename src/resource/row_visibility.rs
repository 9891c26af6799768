//! Which rows of a resource are visible to a caller who is restricted to assigned ones.

use diesel::Column;

/// Which rows are visible to a caller who is restricted to assigned ones, by a setting of the business.
#[derive(Clone, Copy, Debug)]
pub enum RowVisibility {
    All,
    /// Rows whose column holds the caller's user id.
    Assigned(&'static str),
    /// Rows whose references, where set, lead to visible rows.
    Linked(&'static [VisibilityLink]),
    /// Rows to which either applies.
    AssignedOrLinked(&'static str, &'static [VisibilityLink]),
}

/// A reference whose row decides whether rows are visible.
#[derive(Clone, Copy, Debug)]
pub struct VisibilityLink {
    pub column: &'static str,
    /// Plural of the resource that it references.
    pub resource_plural: &'static str,
}

impl RowVisibility {
    /// Rows whose `column` holds the caller's user id.
    pub const fn assigned<C: Column + Copy>(column: C) -> Self {
        let _ = column;
        Self::Assigned(C::NAME)
    }

    /// Rows whose references, where set, lead to visible rows.
    pub const fn linked(links: &'static [VisibilityLink]) -> Self {
        Self::Linked(links)
    }

    /// Rows whose `column` holds the caller's user id, and rows whose references, where set, lead to visible rows.
    pub const fn assigned_or_linked<C: Column + Copy>(column: C, links: &'static [VisibilityLink]) -> Self {
        let _ = column;
        Self::AssignedOrLinked(C::NAME, links)
    }

    /// Returns the references that decide whether a row is visible.
    pub fn links(self) -> &'static [VisibilityLink] {
        match self {
            Self::All | Self::Assigned(_) => &[],
            Self::Linked(links) | Self::AssignedOrLinked(_, links) => links,
        }
    }
}

impl VisibilityLink {
    /// The reference in `column`, to a row of the resource with this plural.
    pub const fn new<C: Column + Copy>(column: C, resource: &'static str) -> Self {
        let _ = column;
        Self { column: C::NAME, resource_plural: resource }
    }
}
