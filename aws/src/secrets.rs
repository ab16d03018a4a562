//! Secrets Manager, and the Parameter Store of Systems Manager.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;

use crate::Account;
use crate::error::{Asked, AwsError, Kind};

/// How long a question may take with its retries: a task waits for the answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// AWS Secrets Manager.
#[derive(Debug, Clone)]
pub struct SecretsManager {
    client: aws_sdk_secretsmanager::Client,
}

/// AWS Systems Manager Parameter Store.
#[derive(Debug, Clone)]
pub struct ParameterStore {
    client: aws_sdk_ssm::Client,
}

impl SecretsManager {
    /// That of an account.
    #[must_use]
    pub fn new(account: &Account) -> Self {
        Self { client: aws_sdk_secretsmanager::Client::new(&patient(account)) }
    }

    /// The text of a secret; `None` where there is no such secret, or where it is no text.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<String>, AwsError> {
        let asked = Asked {
            service: "Secrets Manager",
            action: "secretsmanager:GetSecretValue",
            on: id,
            if_missing: "make the secret",
        };
        let answer = self.client.get_secret_value().secret_id(id).send().await;
        there(answer.map(|answer| answer.secret_string).map_err(|error| asked.failed(&error)))
    }
}

impl ParameterStore {
    /// That of an account.
    #[must_use]
    pub fn new(account: &Account) -> Self {
        Self { client: aws_sdk_ssm::Client::new(&patient(account)) }
    }

    /// The value of a parameter, decrypted; `None` where there is no such parameter.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn get(&self, name: &str) -> Result<Option<String>, AwsError> {
        let asked = Asked {
            service: "Systems Manager Parameter Store",
            action: "ssm:GetParameter",
            on: name,
            if_missing: "make the parameter",
        };
        let answer = self.client.get_parameter().name(name).with_decryption(true).send().await;
        let value = answer.map(|answer| answer.parameter.and_then(|parameter| parameter.value));
        there(value.map_err(|error| asked.failed(&error)))
    }
}

fn there(answer: Result<Option<String>, AwsError>) -> Result<Option<String>, AwsError> {
    match answer {
        Err(error) if error.kind == Kind::Missing => Ok(None),
        answer => answer,
    }
}

/// The account's configuration, for requests that somebody waits for.
fn patient(account: &Account) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().operation_timeout(TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT);
    account.config().clone().into_builder().timeout_config(timeouts.build()).build()
}
