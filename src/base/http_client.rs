//! How HTTP clients begin.

/// Begins a client. One without `tls` trusts no certificate: so those of the system are not read, which takes longer than most requests.
#[cfg_attr(not(feature = "tls"), allow(unused_variables, reason = "then no client has TLS"))]
pub fn builder(tls: bool) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder();
    #[cfg(feature = "tls")]
    let builder = if tls { builder } else { builder.tls_certs_only([]) };
    builder
}
