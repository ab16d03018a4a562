//! Requests to a collector: OTLP over HTTP.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::header::{CONTENT_ENCODING, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use prost::Message as _;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;
use tradewind_aws::reasons;

use super::options::{Certificates, Compression, Otel};

/// Attempts at a request, at most.
const ATTEMPTS: u32 = 6;

/// Bytes of an answer that are read, at most.
const ANSWER: usize = 64 * 1024;

/// What a request came to, where the collector took it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Points that the collector would not have.
    pub(super) rejected: usize,
    /// Why.
    pub(super) reason: String,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// A file for TLS cannot be used.
    #[error("{path}: {problem}\nhint: name a file in PEM format that this user may read")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// TLS cannot be spoken as asked.
    #[error(
        "TLS cannot be spoken to the collector: {0}\nhint: see the variables OTEL_EXPORTER_OTLP_*CERTIFICATE and *KEY"
    )]
    Tls(String),
    /// Nothing was answered.
    #[error("{0}\nhint: see whether a collector listens there for OTLP over HTTP")]
    Unreachable(String),
    /// The collector refuses.
    #[error("the collector answers {0}\nhint: see its log, and the path and the headers that it wants")]
    Refused(StatusCode),
    /// It took too long.
    #[error(
        "the collector does not answer in time\nhint: see whether it is overloaded, or raise OTEL_EXPORTER_OTLP_TIMEOUT"
    )]
    TimedOut,
}

/// A collector.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    options: Otel,
}

impl Collector {
    /// Prepares to speak to it.
    ///
    /// # Errors
    /// TLS is asked for and cannot be spoken.
    pub(super) fn new(options: Otel) -> Result<Self, CollectorError> {
        let tls = if options.is_secure() { options.certificates.clone() } else { Certificates::default() };
        let tls = client_config(&tls, options.is_secure())?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), options })
    }

    /// Sends a request, more than once where the collector is only busy: until the time is over, or `stop`.
    ///
    /// # Errors
    /// The collector did not take it.
    pub(super) async fn send(
        &self,
        request: &ExportMetricsServiceRequest,
        stop: &CancellationToken,
    ) -> Result<Accepted, CollectorError> {
        let body = pack(self.options.compression, request.encode_to_vec());
        let deadline = Instant::now() + self.options.timeout;
        let mut attempt = 0;
        loop {
            let outcome = match timeout_at(deadline, self.try_once(body.clone())).await {
                Ok(outcome) => outcome,
                Err(_) => return Err(CollectorError::TimedOut),
            };
            let (error, wait) = match outcome {
                Ok(accepted) => return Ok(accepted),
                Err((error, wait)) => (error, wait),
            };
            attempt += 1;
            let is_over = |wait: &Duration| Instant::now() + *wait > deadline;
            let Some(wait) = wait.map(|wait| wait.unwrap_or(Duration::from_secs(1 << (attempt - 1)))) else {
                return Err(error);
            };
            if attempt == ATTEMPTS || is_over(&wait) || stop.is_cancelled() {
                return Err(error);
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => return Err(error),
            }
        }
    }

    /// With an error comes whether it may pass, and then for how long to wait, if the collector says so.
    async fn try_once(&self, body: Bytes) -> Result<Accepted, (CollectorError, Option<Option<Duration>>)> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.options.endpoint.clone();
        request.headers_mut().clone_from(&self.options.headers);
        if let Some(encoding) = self.options.compression.name() {
            request.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            Err(error) => return Err((CollectorError::Unreachable(reasons(&error)), Some(None))),
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(read(answer).await);
        }
        let may_pass = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        let wait = answer.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.trim().parse().ok());
        Err((CollectorError::Refused(status), may_pass.then(|| wait.map(Duration::from_secs))))
    }
}

/// What the collector has to say. One that says nothing that can be read has taken everything.
async fn read(answer: Response<Incoming>) -> Accepted {
    let Ok(body) = Limited::new(answer.into_body(), ANSWER).collect().await else { return Accepted::default() };
    let answer = ExportMetricsServiceResponse::decode(body.to_bytes()).unwrap_or_default();
    let Some(partial) = answer.partial_success else { return Accepted::default() };
    let rejected = usize::try_from(partial.rejected_data_points).unwrap_or_default();
    Accepted { rejected, reason: partial.error_message }
}

impl Compression {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
        }
    }
}

fn pack(compression: Compression, plain: Vec<u8>) -> Bytes {
    let level = flate2::Compression::default();
    // Writing to memory does not fail.
    let packed = match compression {
        Compression::None => return plain.into(),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(&plain).and_then(|()| encoder.finish())
        }
        Compression::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(&plain).and_then(|()| encoder.finish())
        }
    };
    packed.unwrap_or_default().into()
}

fn client_config(files: &Certificates, is_secure: bool) -> Result<ClientConfig, CollectorError> {
    let mut roots = RootCertStore::empty();
    match &files.authorities {
        Some(path) => {
            for authority in certificates(path)? {
                roots.add(authority).map_err(|error| file(path, &error))?;
            }
        }
        None if is_secure => {
            let found = rustls_native_certs::load_native_certs();
            let (_, unusable) = roots.add_parsable_certificates(found.certs);
            tracing::debug!(unusable, errors = found.errors.len(), "certificates of authorities were read");
        }
        None => {}
    }
    let tls = |error: &dyn std::fmt::Display| CollectorError::Tls(error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| tls(&error))?
        .with_root_certificates(roots);
    match &files.client {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, &error))?;
            builder.with_client_auth_cert(certificates(certificate)?, key).map_err(|error| tls(&error))
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CollectorError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| file(path, &error))?;
    if found.is_empty() { Err(file(path, &"it holds no certificate")) } else { Ok(found) }
}

fn file(path: &Path, problem: &dyn std::fmt::Display) -> CollectorError {
    CollectorError::File { path: path.display().to_string(), problem: problem.to_string() }
}
