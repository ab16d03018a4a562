//! The set of trusted public keys, where it is at an address (`JWKS` in `airflow/api_fastapi/auth/tokens.py`).

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use axum::http::{Request, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tradewind_airflow::config::Config;
use tradewind_airflow::jwt::Jwt;

use crate::options::OptionsError;

/// For how long a server that did not answer is left alone while there are keys (`refresh_retry_interval_secs`).
const RETRY: Duration = Duration::from_secs(10);

/// How long a server may take; that of the official client.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of a set, at most.
const LARGEST: usize = 1 << 20;

/// Fetches the set when it is first needed, and when the one that there is has become old.
#[derive(Debug)]
pub(crate) struct KeySet {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    refresh: Duration,
    times: StdMutex<Times>,
    /// Held by who fetches.
    fetching: Mutex<()>,
}

/// When it was fetched, and when an attempt at it ended.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

impl Times {
    fn is_due(self, now: Instant, refresh: Duration) -> bool {
        let is_past = |time: Option<Instant>, by: Duration| time.is_none_or(|time| now.duration_since(time) >= by);
        self.fetched.is_none() || (is_past(self.fetched, refresh) && is_past(self.tried, RETRY.min(refresh)))
    }
}

/// Why there is no new set.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Unreachable(String),
    #[error("the server answers {0}")]
    Status(StatusCode),
    #[error("the server does not answer within {} s", PATIENCE.as_secs())]
    TimedOut,
    #[error("the answer has more than {LARGEST} bytes")]
    TooLarge,
    #[error("the answer breaks off: {0}")]
    Broken(String),
    #[error(transparent)]
    NoSet(#[from] tradewind_airflow::jwt::JwtError),
}

impl KeySet {
    /// The one that `[api_auth] trusted_jwks_url` names, unless keys come from elsewhere.
    ///
    /// # Errors
    /// It is no address, or TLS cannot be spoken.
    pub(crate) fn of(jwt: &Jwt, config: &Config) -> Result<Option<Self>, OptionsError> {
        let Some(url) = jwt.key_set_url() else { return Ok(None) };
        let invalid = || config.invalid("api_auth", "trusted_jwks_url", "an http or https address, or a file");
        let url: Uri = url.parse().map_err(|_| invalid())?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none_or(str::is_empty) {
            return Err(invalid().into());
        }
        let refresh = config.seconds("tradewind", "jwks_refresh_interval")?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls(&url)?).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Some(Self { url, client, refresh, times: StdMutex::default(), fetching: Mutex::default() }))
    }

    /// Fetches the set if that is due. Where there is none, and none comes, no token is valid; where there is one, it stays.
    pub(crate) async fn refresh(&self, jwt: &Jwt) {
        let asked = Instant::now();
        if !self.times().is_due(asked, self.refresh) {
            return;
        }
        let _turn = self.fetching.lock().await;
        let times = self.times();
        // Somebody else may have tried meanwhile, and have waited long enough for all.
        if times.tried.is_some_and(|tried| tried >= asked) || !times.is_due(Instant::now(), self.refresh) {
            return;
        }
        let outcome = timeout(PATIENCE, self.fetch()).await.unwrap_or(Err(FetchError::TimedOut));
        let outcome = outcome.and_then(|set| Ok(jwt.trust(&set)?));
        let tried = Some(Instant::now());
        let fetched = if outcome.is_ok() { tried } else { times.fetched };
        *self.times.lock().unwrap_or_else(PoisonError::into_inner) = Times { fetched, tried };
        let url = &self.url;
        match outcome {
            Ok(keys) => tracing::debug!(%url, keys, "the set of trusted keys was fetched"),
            Err(error) if fetched.is_some() => tracing::warn!(
                %url, %error,
                "the set of trusted keys cannot be fetched anew; those of the last one stay trusted\nhint: see whether the server runs"
            ),
            Err(error) => tracing::error!(
                %url, %error,
                "the set of trusted keys was never fetched, so no token is valid\nhint: see whether the server runs, and whether \
                 [api_auth] trusted_jwks_url names its key set"
            ),
        }
    }

    async fn fetch(&self) -> Result<Bytes, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.url.clone();
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| FetchError::Unreachable(reasons(&error)))?;
        if !answer.status().is_success() {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => FetchError::TooLarge,
            None => FetchError::Broken(error.to_string()),
        })?;
        Ok(body.to_bytes())
    }

    fn times(&self) -> Times {
        *self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What went wrong, and why.
fn reasons(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// TLS with the authorities of the system, which are read where they are needed.
fn tls(url: &Uri) -> Result<ClientConfig, OptionsError> {
    let mut roots = RootCertStore::empty();
    if url.scheme_str() == Some("https") {
        let found = rustls_native_certs::load_native_certs();
        let (_, unusable) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(unusable, errors = found.errors.len(), "certificates of authorities were read");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| OptionsError::KeySetTls(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_fetched_when_there_is_none_or_it_is_old() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let hour = Duration::from_secs(3600);
        let times = |fetched: Option<u64>, tried: Option<u64>| Times { fetched: fetched.map(at), tried: tried.map(at) };
        assert!(times(None, None).is_due(at(0), hour));
        assert!(times(None, Some(0)).is_due(at(0), hour), "as long as there are no keys at all, it is tried each time");
        assert!(!times(Some(0), Some(0)).is_due(at(3599), hour));
        assert!(times(Some(0), Some(0)).is_due(at(3600), hour));
        assert!(!times(Some(0), Some(3600)).is_due(at(3609), hour));
        assert!(times(Some(0), Some(3600)).is_due(at(3610), hour));
        assert!(times(Some(0), Some(0)).is_due(at(1), Duration::from_secs(1)));
    }
}
