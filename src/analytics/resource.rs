//! What the cache and the permissions know of statistics: they are read as rows are, and are none.

use crate::auth::Area;
use crate::resource::Resource;

pub static STATISTICS: Resource =
    Resource { name: "statistic", plural: "statistics", area: Area::Crm, audited: false, ..Resource::BASE };
