//! How this process reaches AWS: credentials, region, endpoints.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_smithy_http_client::{Builder, tls};

/// The account a process works in, as the SDK's standard chain finds it: variables, shared files, a credentials process, the
/// role of a container or of an instance. `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>` lead elsewhere, for example to an
/// emulator.
///
/// Cheap to clone; clients made from it share connections and credentials.
#[derive(Debug, Clone)]
pub struct Account {
    config: SdkConfig,
}

impl Account {
    /// Looks for region and credentials. Nothing is asked of AWS yet, and nothing fails before a request needs what was not
    /// found.
    pub async fn from_environment() -> Self {
        let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http = Builder::new().tls_provider(tls).build_https();
        let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
        Self { config }
    }

    /// What clients of single services are made from.
    #[must_use]
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }
}
