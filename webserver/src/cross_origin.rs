//! Calls from pages of other origins (`[api] access_control_allow_…`).

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowMethods, CorsLayer};
use tradewind_airflow::config::{Config, ConfigError};

/// Headers that a browser may send without asking.
const SIMPLE_HEADERS: [&str; 4] = ["accept", "accept-language", "content-language", "content-type"];
/// For how long a browser need not ask again beforehand, as Starlette has it.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// What `*` means for methods.
const METHODS: [Method; 7] =
    [Method::DELETE, Method::GET, Method::HEAD, Method::OPTIONS, Method::PATCH, Method::POST, Method::PUT];

/// Which pages may call, and how.
#[derive(Debug, Clone)]
pub(crate) struct CrossOrigin {
    origins: Vec<HeaderValue>,
    methods: Vec<Method>,
    /// `None`: any.
    headers: Option<Vec<HeaderName>>,
}

impl CrossOrigin {
    /// `None` unless one of the options is set.
    pub(crate) fn from_config(config: &Config) -> Result<Option<Self>, ConfigError> {
        let list = |key: &str| config.list_of("api", key);
        let origins = list("access_control_allow_origins")?;
        let methods = list("access_control_allow_methods")?;
        let headers = list("access_control_allow_headers")?;
        if origins.is_empty() && methods.is_empty() && headers.is_empty() {
            return Ok(None);
        }
        let invalid = |key: &str, expected: &str| config.invalid("api", key, expected);
        // Browsers take no answer to a request with credentials that allows any origin.
        if origins.iter().any(|origin| origin == "*") {
            return Err(invalid("access_control_allow_origins", "a list of exact origins such as https://example.org"));
        }
        let origins = origins.into_iter().map(HeaderValue::try_from).collect::<Result<_, _>>();
        let methods = if methods.iter().any(|method| method == "*") {
            Ok(METHODS.to_vec())
        } else {
            methods.iter().map(|method| Method::from_bytes(method.as_bytes())).collect::<Result<_, _>>()
        };
        let any_header = headers.iter().any(|header| header == "*");
        let headers = headers.iter().map(String::as_str).filter(|header| *header != "*").chain(SIMPLE_HEADERS);
        let headers = headers.map(HeaderName::try_from).collect::<Result<Vec<_>, _>>();
        let headers = headers.map_err(|_| invalid("access_control_allow_headers", "a list of headers, or *"))?;
        Ok(Some(Self {
            origins: origins.map_err(|_| invalid("access_control_allow_origins", "a list of origins"))?,
            methods: methods.map_err(|_| invalid("access_control_allow_methods", "a list of methods, or *"))?,
            headers: (!any_header).then_some(headers),
        }))
    }

    /// What adds the headers and answers what browsers ask beforehand.
    pub(crate) fn layer(&self) -> CorsLayer {
        let headers = self.headers.clone().map_or_else(AllowHeaders::mirror_request, AllowHeaders::list);
        CorsLayer::new()
            .allow_credentials(true)
            .allow_origin(self.origins.clone())
            .allow_methods(AllowMethods::list(self.methods.clone()))
            .allow_headers(headers)
            .max_age(ASKED_AGAIN_AFTER)
    }
}
