//! What a proxy in front of the server tells of the client; believed of proxies that the operator named only.

use crate::server::Peer;
use crate::state::App;
use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// How the client speaks to the server, or to the proxy in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Addresses: one, or all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// IPv4 as IPv6 has it.
    start: Ipv6Addr,
    /// Bits that count, of 128.
    length: u32,
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is neither an address (10.0.0.1), nor a network (10.0.0.0/8), nor * for all")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let error = || NetworkError(text.to_owned());
        if text == "*" {
            return Ok(Self { start: Ipv6Addr::UNSPECIFIED, length: 0 });
        }
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = length.map_or(Ok(bits), |length| length.parse().map_err(|_| error()))?;
        if length > bits {
            return Err(error());
        }
        Ok(Self { start: mapped(address), length: 128 - bits + length })
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let differing = self.start.to_bits() ^ mapped(address).to_bits();
        differing.leading_zeros() >= self.length
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
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
