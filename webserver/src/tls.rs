//! TLS of the server (`[api] ssl_cert`, `ssl_key`, `ssl_ca_file`, `ssl_cert_reqs`): rustls.

use crate::server::PromptListener;
use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tradewind_airflow::config::{Config, ConfigError};

/// How long a client may take to agree on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Clients that agree on keys at the same time; further ones wait.
const HANDSHAKES: usize = 256;

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// One of two options that belong together is missing.
    #[error("[api] ssl_cert and [api] ssl_key belong together, and {0} is not set")]
    Half(&'static str),
    /// A file cannot be read as what it should be.
    #[error("[api] {option} = {path}: {problem}; name a file in PEM format that this user may read")]
    File {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Certificate and key do not make a server.
    #[error("[api] ssl_cert and ssl_key cannot be used: {0}")]
    Unusable(String),
}

/// The server's side of TLS; none when no certificate is configured.
pub(crate) fn server_config(config: &Config) -> Result<Option<ServerConfig>, TlsError> {
    let path = |key| config.optional("api", key).map(|path| path.map(PathBuf::from));
    let (certificate, key) = match (path("ssl_cert")?, path("ssl_key")?) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (None, Some(_)) => return Err(TlsError::Half("ssl_cert")),
        (Some(_), None) => return Err(TlsError::Half("ssl_key")),
    };
    let chain = certificates("ssl_cert", &certificate)?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| file("ssl_key", &key, &error))?;
    let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let demand = config.string("api", "ssl_cert_reqs")?;
    let builder = match (demand.to_ascii_lowercase().as_str(), path("ssl_ca_file")?) {
        ("none", _) => builder.with_no_client_auth(),
        (demand @ ("optional" | "required"), Some(authorities)) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates("ssl_ca_file", &authorities)? {
                roots.add(authority).map_err(|error| file("ssl_ca_file", &authorities, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if demand == "optional" { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(&error))?)
        }
        ("optional" | "required", None) => {
            return Err(config.invalid("api", "ssl_cert_reqs", "none as long as ssl_ca_file is not set").into());
        }
        _ => return Err(config.invalid("api", "ssl_cert_reqs", "none, optional or required").into()),
    };
    let mut server = builder.with_single_cert(chain, key).map_err(|error| unusable(&error))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(server))
}

fn certificates(option: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| file(option, path, &error))?;
    if found.is_empty() {
        return Err(file(option, path, &"it holds no certificate"));
    }
    Ok(found)
}

fn file(option: &'static str, path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { option, path: path.to_owned(), problem: problem.to_string() }
}

/// Accepts connections and agrees on keys, with many clients at once: a slow one holds nobody up.
pub(crate) struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
    accepting: AbortHandle,
}

impl TlsListener {
    /// Takes over a listener.
    pub(crate) fn new(listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(HANDSHAKES);
        let accepting = tokio::spawn(accept_all(listener, TlsAcceptor::from(config), sender)).abort_handle();
        Ok(Self { ready, address, accepting })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept_all(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    let mut listener = PromptListener(listener);
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let (stream, peer) = listener.accept().await;
        let handshake = acceptor.accept(stream);
        let sender = sender.clone();
        tokio::spawn(async move {
            match timeout(HANDSHAKE, handshake).await {
                // Nobody takes it when the server shuts down.
                Ok(Ok(stream)) => drop(sender.send((stream, peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS connection came about"),
                Err(_) => tracing::debug!(%peer, "no TLS connection came about in time"),
            }
            drop(place);
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task ends with this listener only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
