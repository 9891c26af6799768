//! Names: those that are nobody's in public, and the resolver that lets through only addresses that may be reached.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Bounds;

/// Asks for the addresses of a name.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Asks the system.
pub fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// Last labels that are nobody's (RFC 6761, 6762, 8375, ICANN's `internal`) or are used as if they were.
const NOT_PUBLIC: [&str; 12] = [
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "arpa",
    "onion",
    "invalid",
];

/// What `name` is, where it is not anyone's to ask for.
pub fn not_public(name: &str) -> Option<&'static str> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    match name.rsplit_once('.') {
        None => Some("a name of the network that this runs in"),
        Some((_, last)) if NOT_PUBLIC.contains(&last) => Some("a name of a private network"),
        Some(_) => None,
    }
}

/// Resolves names, and keeps what may not be reached to itself.
pub(super) struct Checked {
    pub bounds: Bounds,
    pub tls: bool,
    pub lookup: Lookup,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (bounds, tls, name) = (self.bounds.clone(), self.tls, name.as_str().to_owned());
        let asked = (self.lookup)(name.clone());
        Box::pin(async move {
            let found = asked.await?;
            if found.is_empty() {
                return Err(format!("`{name}` has no address").into());
            }
            // One that may not be reached spoils them all: nobody has both by accident.
            if let Some(why) = found.iter().find_map(|address| bounds.refuses(*address, tls)) {
                return Err(format!("`{name}` leads to where nothing is sent: {why}").into());
            }
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
