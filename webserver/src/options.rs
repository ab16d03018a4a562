//! What the web server needs to know, read once from the configuration.

use crate::auth;
use crate::cross_origin::CrossOrigin;
use crate::tls::{self, TlsError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::ServerConfig;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_airflow::fernet::FernetError;
use tradewind_airflow::jwt::JwtError;
use tradewind_airflow::simple_auth::SimpleAuthError;
use tradewind_metadata::explanation;

/// Options of the web server.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The folder of the installed `airflow` package: the official UI is served from it.
    pub airflow_package: PathBuf,
    /// From where browsers may call, when anything is said of that.
    pub cross_origin: Option<CrossOrigin>,
    /// Certificate and key; none: plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// The URL under which users reach the server; its path is the prefix of every route.
    pub base_url: String,
    /// Rows of a page unless the request says otherwise.
    pub fallback_page_limit: i64,
    /// Rows of a page at most.
    pub maximum_page_limit: i64,
    /// Dags kept in memory.
    pub dag_cache_size: usize,
    /// Signs page and file tokens; Airflow makes one up when `[api] secret_key` is empty.
    pub secret_key: String,
    /// Signs session tokens; Airflow makes one up when `[api_auth] jwt_secret` is empty.
    pub jwt_secret: String,
    /// Whether pools, connections, variables and Dags may belong to teams.
    pub multi_team: bool,
    /// How long a session lasts.
    pub session_length: Duration,
    /// How long a token of the command line lasts.
    pub cli_session_length: Duration,
    /// Whether there are pages that show the OpenAPI document.
    pub enable_swagger_ui: bool,
    /// Whether the grid sorts topologically (else alphabetically by level).
    pub topological_order: bool,
    /// What limits and time-outs there are, to say why something waits.
    pub explanation: explanation::Options,
}

/// Why the web server cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The users or their passwords cannot be used.
    #[error(transparent)]
    Users(#[from] SimpleAuthError),
    /// Tokens cannot be signed.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// No key set can be fetched by https.
    #[error("TLS cannot be spoken to the server of [api_auth] trusted_jwks_url: {0}")]
    KeySetTls(String),
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Another class decides who may do what.
    #[error(
        "[core] auth_manager = {0} is not known to Tradewind; set it to {simple}, or serve the API by official Airflow",
        simple = auth::SIMPLE
    )]
    AuthManager(String),
    /// `[core] fernet_key` is no key.
    #[error("[core] fernet_key cannot be used: {0}")]
    Fernet(#[from] FernetError),
    /// The official UI is not where it should be.
    #[error("the official UI is missing: no {0}; install apache-airflow in the virtual environment ([tradewind] venv)")]
    NoUi(PathBuf),
}

impl Options {
    /// Reads the options; `airflow_package` is the folder of the `airflow` package in the virtual environment.
    pub(crate) fn from_config(config: &Config, airflow_package: &Path) -> Result<Self, OptionsError> {
        Ok(Self {
            airflow_package: airflow_package.to_owned(),
            cross_origin: CrossOrigin::from_config(config)?,
            tls: tls::server_config(config)?.map(Arc::new),
            base_url: config.optional("api", "base_url")?.unwrap_or_default().to_owned(),
            fallback_page_limit: config.int("api", "fallback_page_limit")?,
            maximum_page_limit: config.int("api", "maximum_page_limit")?,
            dag_cache_size: usize::try_from(config.int("api", "dag_cache_size")?).unwrap_or_default(),
            secret_key: given_or_random(config, "api", "secret_key")?,
            // A private key takes its place; then none is made up.
            jwt_secret: if config.string("api_auth", "jwt_private_key_path").unwrap_or_default().is_empty() {
                given_or_random(config, "api_auth", "jwt_secret")?
            } else {
                String::new()
            },
            multi_team: config.bool("core", "multi_team")?,
            session_length: config.seconds("api_auth", "jwt_expiration_time")?,
            cli_session_length: config.seconds("api_auth", "jwt_cli_expiration_time")?,
            enable_swagger_ui: config.bool("api", "enable_swagger_ui")?,
            topological_order: config.string("api", "grid_view_sorting_order")? == "topological",
            explanation: explanation::Options::from_config(config)?,
        })
    }

    /// The path of the base URL without a slash at the end: `""` or `/some/prefix`.
    pub(crate) fn root_path(&self) -> &str {
        let after_scheme = self.base_url.split_once("://").map_or(self.base_url.as_str(), |(_, rest)| rest);
        let path = after_scheme.find('/').map_or("", |start| &after_scheme[start..]);
        path.trim_end_matches('/')
    }

    /// The path that cookies are bound to.
    pub(crate) fn cookie_path(&self) -> String {
        format!("{}/", self.root_path())
    }
}

fn given_or_random(config: &Config, section: &str, key: &str) -> Result<String, ConfigError> {
    let given = config.string(section, key)?;
    if !given.is_empty() {
        return Ok(given);
    }
    tracing::warn!("[{section}] {key} is empty: tokens are signed with a key made up for this process");
    Ok(uuid::Uuid::new_v4().simple().to_string())
}
