//! What a proxy in front of the server tells of the client; believed of proxies that the operator named only.

use crate::server::Peer;
use crate::state::App;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;
use std::convert::Infallible;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// How the client speaks to the server, or to the proxy in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Addresses: one, those of a network, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Any address.
    All,
    /// One, or all that begin with the same bits.
    Net(IpNet),
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is neither an address (10.0.0.1), nor a network (10.0.0.0/8), nor * for all")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text == "*" {
            return Ok(Self::All);
        }
        let address = || text.parse::<IpAddr>().map(IpNet::from).ok();
        let network = text.parse().ok().or_else(address);
        network.map(Self::Net).ok_or_else(|| NetworkError(text.to_owned()))
    }
}

impl Network {
    /// An IPv4 address that is written as IPv6 counts as what it is.
    fn contains(self, address: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Net(network) => network.contains(&address.to_canonical()),
        }
    }
}

/// Notes the scheme that a trusted proxy tells (`ProxyHeadersMiddleware` of uvicorn).
pub(crate) async fn note_scheme(trusted: Arc<[Network]>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|peer| peer.0.0.ip());
    let is_trusted = peer.is_some_and(|peer| trusted.iter().any(|network| network.contains(peer)));
    let told = request.headers().get("x-forwarded-proto").and_then(|scheme| scheme.to_str().ok());
    if let Some(told) = told.filter(|_| is_trusted) {
        let is_tls = matches!(told.trim(), "https" | "wss");
        request.extensions_mut().insert(if is_tls { Scheme::Https } else { Scheme::Http });
    }
    next.run(request).await
}

impl FromRequestParts<App> for Scheme {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let own = if app.options.tls.is_some() { Self::Https } else { Self::Http };
        Ok(parts.extensions.get().copied().unwrap_or(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        let contains = |network: &str, address: &str| {
            let network: Network = network.parse().expect("a network");
            network.contains(address.parse().expect("an address"))
        };
        assert!(contains("*", "10.1.2.3") && contains("*", "fe80::1"));
        assert!(contains("127.0.0.1", "127.0.0.1") && !contains("127.0.0.1", "127.0.0.2"));
        assert!(contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(contains("10.0.0.0/8", "10.200.0.1") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("fd00::/8", "fd12::1") && !contains("fd00::/8", "10.0.0.1"));
        assert!(!contains("::1", "127.0.0.1"));
        for wrong in ["", "localhost", "10.0.0.0/33", "10.0.0.0/x"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
