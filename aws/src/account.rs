//! How this process reaches AWS: credentials, region, endpoints.

use aws_config::{BehaviorVersion, SdkConfig};
#[cfg(feature = "testing")]
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::config::{HttpClient, Region};
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

/// What a configuration may say of an account by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    /// A profile of the shared files.
    pub profile: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// An address in place of AWS's.
    pub endpoint: Option<String>,
}

impl Account {
    /// Looks for region and credentials. Nothing is asked of AWS yet, and nothing fails before a request needs what was not
    /// found.
    pub async fn from_environment() -> Self {
        Self { config: aws_config::defaults(BehaviorVersion::latest()).http_client(http_client()).load().await }
    }

    /// The same, with what `choices` say in place of what is found.
    pub async fn chosen(choices: &Choices) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
        if let Some(profile) = &choices.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &choices.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &choices.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        Self { config: loader.load().await }
    }

    /// The account of an emulator at this address.
    #[cfg(feature = "testing")]
    pub async fn of_emulator(endpoint: &str) -> Self {
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client())
            .credentials_provider(Credentials::new("test", "test", None, None, "emulator"))
            .region("us-east-1")
            .endpoint_url(endpoint);
        Self { config: loader.load().await }
    }

    /// What clients of single services are made from.
    #[must_use]
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// Whether a service (as in `AWS_ENDPOINT_URL_<SERVICE>`) is somewhere else than AWS has it.
    pub(crate) fn has_own_endpoint(&self, service: &str) -> bool {
        let variable = format!("AWS_ENDPOINT_URL_{service}");
        self.config.endpoint_url().is_some() || std::env::var(variable).is_ok_and(|url| !url.is_empty())
    }
}

fn http_client() -> impl HttpClient + 'static {
    let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    Builder::new().tls_provider(tls).build_https()
}
