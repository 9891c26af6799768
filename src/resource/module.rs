//! A resource with all that its definition cannot hold: write operations, checks and HTTP operations of its own.

use actix_web::web::ServiceConfig;
use utoipa::openapi::OpenApi;

use super::body::Changeset;
use super::definition::Resource;
use super::write_ops::WriteOps;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::db::Tx;
use crate::http::routing::Routes;

/// Looks for a duplicate of a row before it is created. Errors: 409.
pub type DuplicateCheck = fn(&mut Tx<'_>, &Tenant, &'static Resource, &Changeset) -> Result<()>;

/// A resource as the application serves it. One without behaviour of its own needs no more than [`ResourceModule::new`].
#[derive(Clone, Copy)]
pub struct ResourceModule {
    pub resource: &'static Resource,
    pub writes: WriteOps,
    /// Rejects a single create over HTTP that looks like an existing row, unless `allow_duplicate=true`.
    pub duplicate_check: Option<DuplicateCheck>,
    /// Registers its create route itself, where that takes more than a transaction; the OpenAPI description is the
    /// standard one.
    pub custom_create: Option<fn(Routes) -> Routes>,
    /// Routes of its own that the path pattern of a row would match, too: they are registered first.
    pub static_routes: &'static [fn(&mut ServiceConfig)],
    /// Other routes of its own, below its path.
    pub routes: &'static [fn(&mut ServiceConfig)],
    /// Adds the operations of its own to the OpenAPI document.
    pub describe: &'static [fn(&mut OpenApi)],
}

impl ResourceModule {
    /// A resource that has the standard operations only.
    pub const fn new(resource: &'static Resource) -> Self {
        Self {
            resource,
            writes: WriteOps::PLAIN,
            duplicate_check: None,
            custom_create: None,
            static_routes: &[],
            routes: &[],
            describe: &[],
        }
    }
}
