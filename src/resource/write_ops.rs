//! How a resource's rows are written one at a time.

use uuid::Uuid;

use super::batch;
use super::body::Changeset;
use super::definition::Resource;
use super::row::Row;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::Tx;
use crate::http::precondition::IfMatch;

/// Creates a row, and returns it with its id.
pub type CreateRow = fn(&mut Tx<'_>, &Tenant, &'static Resource, Changeset) -> Result<(Uuid, Row)>;

/// How a resource's rows are written; a resource that is not a plain table row replaces functions.
#[derive(Clone, Copy)]
pub struct WriteOps {
    pub create: CreateRow,
    pub update: fn(&mut Tx<'_>, &Tenant, &'static Resource, Uuid, Changeset, IfMatch) -> Result<Row>,
    pub delete: fn(&mut Tx<'_>, &Tenant, &'static Resource, Uuid, IfMatch) -> Result<()>,
    pub restore: fn(&mut Tx<'_>, &Tenant, &'static Resource, Uuid) -> Result<Row>,
}

impl WriteOps {
    /// The writes of a plain table row.
    pub const PLAIN: Self =
        Self { create: batch::create, update: batch::update, delete: batch::delete, restore: batch::restore };
}
