//! DNS: a resolver which returns only addresses allowed by the egress policy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::policy::EgressPolicy;

/// Resolves a name to its addresses.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Uses the system's resolver.
pub fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// Resolver which fails for names with an address that the policy refuses.
pub(super) struct PolicyResolver {
    pub policy: EgressPolicy,
    pub tls: bool,
    pub lookup: Lookup,
}

impl Resolve for PolicyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, tls, name) = (self.policy.clone(), self.tls, name.as_str().to_owned());
        let asked = (self.lookup)(name.clone());
        Box::pin(async move {
            let found = asked.await?;
            if found.is_empty() {
                return Err(format!("`{name}` has no address").into());
            }
            // One refused address fails the name: no host has both kinds by accident.
            if let Some(why) = found.iter().find_map(|address| policy.refusal(*address, tls)) {
                return Err(format!("`{name}` leads to where nothing is sent: {why}").into());
            }
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
