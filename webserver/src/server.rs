//! Routing and serving.

use crate::auth::{self, AuthManager, KeySet};
use crate::connections::{Connections, Counted};
use crate::error::ApiError;
use crate::options::{Options, OptionsError};
use crate::proxy::{self, Network};
use crate::state::App;
use crate::tls::TlsListener;
use crate::{api_v2, openapi, refusal, request_body, shared_answer, static_ui, tradewind_v1, ui};
use axum::Router;
use axum::extract::Request;
use axum::extract::connect_info::Connected;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};
use tower_http::trace::TraceLayer;
use tradewind_airflow::config::Config;
use tradewind_airflow::jwt::Jwt;
use tradewind_airflow::simple_auth::{NewPassword, SimpleAuth};
use tradewind_metadata::Database;

/// Smaller answers are not worth packing (Airflow's `GZipMiddleware` setting, in bytes).
const COMPRESS_ABOVE: u64 = 1024;

/// The web server of a deployment.
pub struct WebServer {
    app: App,
    new_passwords: Vec<NewPassword>,
    trusted_proxies: Arc<[Network]>,
    connections: Connections,
}

/// The address at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A listener whose connections send what there is at once: the next line of a stream would wait, up to 40 ms, until the
/// client has acknowledged the one before.
pub(crate) struct PromptListener(pub(crate) TcpListener);

impl Listener for PromptListener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        // Logs what goes wrong, and goes on.
        let (stream, peer) = Listener::accept(&mut self.0).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "answers may be sent late");
        }
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl<L: Listener<Addr = SocketAddr>> Connected<IncomingStream<'_, Counted<L>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Counted<L>>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl WebServer {
    /// Refuses what [`new`](Self::new) would refuse of the configuration, before there is a database.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn check(config: &Config, airflow_package: &Path) -> Result<(), OptionsError> {
        let options = Options::from_config(config, airflow_package)?;
        static_ui::check(&options)?;
        auth::manager(config, &SimpleAuth::from_config(config)?)?;
        KeySet::of(&Jwt::for_users(config, &options.jwt_secret)?, config)?;
        Ok(())
    }

    /// Prepares the server: reads its options, makes missing passwords, checks that the official UI is installed in
    /// `airflow_package` (the folder of the `airflow` package in the virtual environment).
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(database: &Database, config: &Config, airflow_package: &Path) -> Result<Self, OptionsError> {
        Self::prepare(database, config, airflow_package, None)
    }

    /// As [`new`](Self::new), with an auth manager of the caller's in place of the one that `[core] auth_manager` names.
    /// People still log in by name and password of the simple one's.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn with_auth_manager(
        database: &Database,
        config: &Config,
        airflow_package: &Path,
        auth_manager: Arc<dyn AuthManager>,
    ) -> Result<Self, OptionsError> {
        Self::prepare(database, config, airflow_package, Some(auth_manager))
    }

    fn prepare(
        database: &Database,
        config: &Config,
        airflow_package: &Path,
        auth_manager: Option<Arc<dyn AuthManager>>,
    ) -> Result<Self, OptionsError> {
        let options = Options::from_config(config, airflow_package)?;
        static_ui::check(&options)?;
        let app = App::new(database.pool().clone(), config.clone(), options, auth_manager)?;
        let new_passwords = app.users.ensure_passwords()?;
        Ok(Self { app, new_passwords, trusted_proxies: Arc::new([]), connections: Connections::default() })
    }

    /// Believes what proxies at these addresses tell of the client's connection.
    #[must_use]
    pub fn with_trusted_proxies(mut self, proxies: Vec<Network>) -> Self {
        self.trusted_proxies = proxies.into();
        self
    }

    /// The connections that are open, as they come and go.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// `http`, or `https` with a certificate.
    pub fn scheme(&self) -> &'static str {
        if self.app.options.tls.is_some() { "https" } else { "http" }
    }

    /// Passwords that were made just now and that nobody knows yet; to be shown once.
    pub fn new_passwords(&self) -> &[NewPassword] {
        &self.new_passwords
    }

    /// The routes, at the root and under the path of `[api] base_url`.
    pub fn router(&self) -> Router {
        let routes = Router::new()
            .nest("/api/v2", api_v2::routes().nest("/auth", auth::login::redirects()))
            .nest("/ui", ui::routes())
            .nest("/tradewind/v1", tradewind_v1::routes())
            .nest("/auth", auth::login::routes())
            .merge(openapi::routes(self.app.options.enable_swagger_ui))
            .merge(static_ui::routes())
            .method_not_allowed_fallback(method_not_allowed);
        let prefix = self.app.options.root_path();
        let routes = if prefix.is_empty() { routes } else { routes.clone().nest(prefix, routes) };
        // Streams are sent line by line as they are made; packing would hold lines back.
        let worth_packing = SizeAbove::new(COMPRESS_ABOVE).and(NotForContentType::const_new("application/x-ndjson"));
        let routes = routes
            .layer(middleware::from_fn_with_state(self.app.clone(), shared_answer::share))
            .layer(middleware::from_fn_with_state(self.app.clone(), auth::refresh_session))
            .layer(CompressionLayer::new().compress_when(worth_packing));
        let routes = match &self.app.options.cross_origin {
            Some(cross_origin) => routes.layer(cross_origin.layer()),
            None => routes,
        };
        let routes = routes
            .layer(middleware::from_fn(refusal::in_airflows_shape))
            .layer(middleware::from_fn(request_body::receive));
        let trusted = Arc::clone(&self.trusted_proxies);
        routes
            .layer(middleware::from_fn(move |request, next| proxy::note_scheme(Arc::clone(&trusted), request, next)))
            .layer(TraceLayer::new_for_http())
            .with_state(self.app.clone())
    }

    /// Serves until `shutdown`, then lets open requests end.
    pub async fn run(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let service = self.router().into_make_service_with_connect_info::<Peer>();
        let shutdown = shutdown.cancelled_owned();
        match &self.app.options.tls {
            Some(tls) => {
                let listener = TlsListener::new(listener, Arc::clone(tls))?;
                let listener = Counted::new(listener, self.connections);
                axum::serve(listener, service).with_graceful_shutdown(shutdown).await
            }
            None => {
                let listener = Counted::new(PromptListener(listener), self.connections);
                axum::serve(listener, service).with_graceful_shutdown(shutdown).await
            }
        }
    }
}

async fn method_not_allowed(_: Request) -> Response {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed").into_response()
}
