//! Settings of the HTTP layer, which its middleware and extractors share.

use std::time::Duration;

use ipnet::IpNet;

use crate::base::egress::EgressPolicy;

/// Shared with all requests as `Data<HttpSettings>`.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Longest that a request may take as a whole.
    pub request_timeout: Duration,
    /// Proxies whose word on a client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins that browsers may call from; `*` for any.
    pub cors_origins: Vec<String>,
    /// Where URLs that clients give may lead.
    pub egress_policy: EgressPolicy,
}
