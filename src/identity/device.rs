//! The client which signs in: its user agent and its address.

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::http::client_ip;

/// Characters of a user agent which are stored.
const MAX_USER_AGENT_LEN: usize = 300;

/// User agent and address of a client which signs in.
#[derive(Clone, Debug)]
pub struct Device {
    pub user_agent: Option<String>,
    pub address: Option<String>,
}

impl Device {
    pub fn new(user_agent: Option<&str>, address: Option<String>) -> Self {
        let short = |agent: &str| agent.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT_LEN).collect();
        Self { user_agent: user_agent.map(short), address }
    }

    /// Returns user agent and address of the client which sent `request`.
    pub fn of(request: &HttpRequest) -> Self {
        let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Self::new(agent, Some(client_ip::address(request).to_string()))
    }
}
