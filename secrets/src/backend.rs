//! A backend in AWS.

use std::collections::BTreeMap;
use std::pin::Pin;

use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use tradewind_aws::secrets::{ParameterStore, SecretsManager};
use tradewind_aws::{Account, AwsError, Choices};

use crate::configuration::Pattern;

/// Which service it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    SecretsManager,
    ParameterStore,
}

/// A backend as it is configured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    pub(crate) kind: Kind,
    pub(crate) names: Names,
    pub(crate) account: Choices,
}

/// How secrets are named.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Names {
    pub(crate) connections: Option<Space>,
    pub(crate) variables: Option<Space>,
    /// Options of the configuration.
    pub(crate) options: Option<Space>,
    pub(crate) separator: String,
    /// The names of a Connection's fields in a secret that is a JSON object.
    pub(crate) words: BTreeMap<&'static str, Vec<String>>,
}

/// Names of one sort.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Space {
    pub(crate) prefix: String,
    /// What a name has to match to be looked for.
    pub(crate) pattern: Option<Pattern>,
}

impl Names {
    /// The name of a Connection's secret; none where the backend is not asked for it.
    pub(crate) fn connection(&self, conn_id: &str) -> Option<String> {
        self.within(self.connections.as_ref()?, conn_id)
    }

    /// The name of a Variable's secret, likewise.
    pub(crate) fn variable(&self, key: &str) -> Option<String> {
        self.within(self.variables.as_ref()?, key)
    }

    /// The name of an option's secret, likewise.
    pub(crate) fn option(&self, name: &str) -> Option<String> {
        self.within(self.options.as_ref()?, name)
    }

    fn within(&self, space: &Space, name: &str) -> Option<String> {
        if space.pattern.as_ref().is_some_and(|pattern| !pattern.matches(name)) {
            return None;
        }
        let path =
            if space.prefix.is_empty() { name.to_owned() } else { format!("{}{}{name}", space.prefix, self.separator) };
        Some(path)
    }

    /// A secret that is a JSON object, with the names that fields of a Connection have.
    ///
    /// # Errors
    /// It begins like an object, and is none.
    fn standardized(&self, secret: String) -> Result<String, String> {
        if !secret.trim_start().starts_with('{') {
            return Ok(secret);
        }
        let fields: Map<String, Value> =
            serde_json::from_str(&secret).map_err(|_| "it begins like a JSON object, and is none".to_owned())?;
        let field = |words: &Vec<String>| fields.iter().find(|(name, _)| words.contains(name)).map(|(_, value)| value);
        let standardized: Map<String, Value> = self
            .words
            .iter()
            .map(|(name, words)| ((*name).to_owned(), field(words).cloned().unwrap_or(Value::Null)))
            .collect();
        Ok(Value::Object(standardized).to_string())
    }
}

/// A backend that can be asked.
#[derive(Debug)]
pub(crate) struct Backend {
    settings: Settings,
    client: OnceCell<Client>,
}

#[derive(Debug)]
enum Client {
    SecretsManager(SecretsManager),
    ParameterStore(ParameterStore),
}

/// The text of a secret that is being asked for, if there is such a secret.
type Secret<'a> = Pin<Box<dyn Future<Output = Result<Option<String>, AwsError>> + Send + 'a>>;

/// Why a backend has nothing to give.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The service refuses, or does not answer.
    Aws(AwsError),
    /// The secret cannot be read.
    Secret(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Aws(error) => error.fmt(f),
            Self::Secret(error) => f.write_str(error),
        }
    }
}

impl Backend {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, client: OnceCell::new() }
    }

    /// Its name in logs.
    pub(crate) fn name(&self) -> &'static str {
        match self.settings.kind {
            Kind::SecretsManager => "SecretsManagerBackend",
            Kind::ParameterStore => "SystemsManagerParameterStoreBackend",
        }
    }

    /// The text of a Connection, if it has one.
    pub(crate) async fn connection(&self, conn_id: &str) -> Result<Option<String>, Trouble> {
        let Some(name) = self.settings.names.connection(conn_id) else { return Ok(None) };
        let Some(secret) = self.get(name).await.map_err(Trouble::Aws)? else { return Ok(None) };
        match self.settings.kind {
            Kind::SecretsManager => self.settings.names.standardized(secret).map(Some).map_err(Trouble::Secret),
            Kind::ParameterStore => Ok(Some(secret)),
        }
    }

    /// The value of a Variable, if it has one.
    pub(crate) async fn variable(&self, key: &str) -> Result<Option<String>, Trouble> {
        let Some(name) = self.settings.names.variable(key) else { return Ok(None) };
        self.get(name).await.map_err(Trouble::Aws)
    }

    /// The value of an option of the configuration, if it has one.
    pub(crate) async fn option(&self, name: &str) -> Result<Option<String>, Trouble> {
        let Some(name) = self.settings.names.option(name) else { return Ok(None) };
        self.get(name).await.map_err(Trouble::Aws)
    }

    /// The text of a secret. Boxed: what the SDK's futures are made of is too deep for those that wait for this.
    fn get(&self, name: String) -> Secret<'_> {
        Box::pin(async move {
            match self.client().await {
                Client::SecretsManager(client) => client.get(&name).await,
                // Parameters are named from the root on.
                Client::ParameterStore(client) if name.starts_with('/') => client.get(&name).await,
                Client::ParameterStore(client) => client.get(&format!("/{name}")).await,
            }
        })
    }

    async fn client(&self) -> &Client {
        let client = async {
            let account = Account::chosen(&self.settings.account).await;
            match self.settings.kind {
                Kind::SecretsManager => Client::SecretsManager(SecretsManager::new(&account)),
                Kind::ParameterStore => Client::ParameterStore(ParameterStore::new(&account)),
            }
        };
        self.client.get_or_init(|| client).await
    }
}
