//! The container agent of Amazon ECS, as a process in a task finds it: which task that is, and whether the service of the task may
//! end it when it scales in.
//!
//! Source: AWS's pages "Amazon ECS task scale-in protection endpoint" and "Amazon ECS task metadata endpoint version 4", and the
//! handlers of `amazon-ecs-agent` (`ecs-agent/tmds/handlers/taskprotection/v1`).

use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use crate::reasons;

/// The agent's address for what a task asks of it (agent 1.65, Fargate platform 1.4, and later ones).
const AGENT_VARIABLE: &str = "ECS_AGENT_URI";

/// The agent's address for what a task asks of itself.
const METADATA_VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// How long the agent may take: it gives ECS four seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The reason that ECS gives for a task that no service has started.
const NOT_OF_SERVICE: &str = "TASK_NOT_VALID";

/// Shortest and longest protection that ECS grants, in minutes.
const MINUTES: std::ops::RangeInclusive<u64> = 1..=2_880;

/// Why the agent did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// No service has started the task, so that none ends it.
    #[error("{0} belongs to no service of ECS, which is why nothing scales it in")]
    NotOfService(String),
    /// The agent or ECS refuses, or does not answer.
    #[error("{request}: {detail}\nhint: {hint}")]
    Failed {
        /// What was asked.
        request: String,
        /// What the agent says, or what kept it from saying something.
        detail: String,
        /// What to do.
        hint: &'static str,
    },
}

/// The agent of the machine on which this process runs in a task.
#[derive(Debug, Clone)]
pub struct Agent {
    client: Client,
    protection: String,
    metadata: Option<String>,
}

impl Agent {
    /// The agent, if this process runs in a task of ECS.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn from_environment() -> Result<Option<Self>, AgentError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        variable(AGENT_VARIABLE).map(|address| Self::new(&address, variable(METADATA_VARIABLE).as_deref())).transpose()
    }

    /// The agent at an address, and what it knows of the task at another.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(address: &str, metadata: Option<&str>) -> Result<Self, AgentError> {
        let protection = format!("{}/task-protection/v1/state", address.trim_end_matches('/'));
        let metadata = metadata.map(|address| format!("{}/task", address.trim_end_matches('/')));
        // It is on this machine: no proxy leads there.
        let client = Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).build();
        let client = client.map_err(|error| failed("the agent of ECS", reasons(&error)))?;
        Ok(Self { client, protection, metadata })
    }

    /// Protects this task for so long from being ended when its service scales in or is deployed anew; what is less than a minute is
    /// one, and two days are the most. `None` ends the protection.
    ///
    /// # Errors
    /// The agent or ECS refuses, or does not answer; the task belongs to no service.
    pub async fn protect(&self, expires_in: Option<Duration>) -> Result<(), AgentError> {
        let body = match expires_in {
            Some(time) => {
                let minutes = (time.as_secs() / 60).clamp(*MINUTES.start(), *MINUTES.end());
                json!({"ProtectionEnabled": true, "ExpiresInMinutes": minutes})
            }
            None => json!({"ProtectionEnabled": false}),
        };
        let answer = self.ask(self.client.put(&self.protection).json(&body), &self.protection).await?;
        // What was not done is told beside a status of success.
        if answer["failure"]["Reason"] == NOT_OF_SERVICE {
            return Err(AgentError::NotOfService(answer["failure"]["Arn"].as_str().unwrap_or("this task").to_owned()));
        }
        match answer["protection"]["ProtectionEnabled"].as_bool() {
            Some(enabled) if enabled == expires_in.is_some() => Ok(()),
            _ => Err(failed(&self.protection, told(&answer))),
        }
    }

    /// The ARN of the task that this process runs in; `None` where the agent has no address for it.
    ///
    /// # Errors
    /// The agent refuses, or does not answer.
    pub async fn task_arn(&self) -> Result<Option<String>, AgentError> {
        let Some(address) = &self.metadata else { return Ok(None) };
        let answer = self.ask(self.client.get(address), address).await?;
        let arn = answer["TaskARN"].as_str().ok_or_else(|| failed(address, "the answer names no task".to_owned()))?;
        Ok(Some(arn.to_owned()))
    }

    async fn ask(&self, request: reqwest::RequestBuilder, what: &str) -> Result<Value, AgentError> {
        let answer = request.send().await.map_err(|error| failed(what, reasons(&error)))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| failed(what, reasons(&error)))?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() { Ok(answer) } else { Err(failed(what, format!("{status}: {}", told(&answer)))) }
    }
}

/// What an answer says that is none.
fn told(answer: &Value) -> String {
    let text = |section: &str, name: &str| answer[section][name].as_str().filter(|text| !text.is_empty());
    let parts = [text("failure", "Reason"), text("failure", "Detail"), text("error", "Code"), text("error", "Message")];
    let mut told = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    if told.is_empty() {
        told = "the answer cannot be read".to_owned();
    }
    match answer["requestID"].as_str() {
        Some(id) => format!("{told} (request {id})"),
        None => told,
    }
}

fn failed(request: &str, detail: String) -> AgentError {
    let hint = "allow ecs:UpdateTaskProtection on the task to its task role, and let it reach ECS (a VPC endpoint, or the \
                internet); it is tried again";
    AgentError::Failed { request: request.to_owned(), detail, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_says_is_told() {
        let error = json!({"requestID": "1-2", "error": {"Arn": "a", "Code": "ThrottlingException", "Message": "Rate exceeded"}});
        assert_eq!(told(&error), "ThrottlingException: Rate exceeded (request 1-2)");
        let failure = json!({"failure": {"Arn": "a", "Detail": null, "Reason": "DEPLOYMENT_BLOCKED"}});
        assert_eq!(told(&failure), "DEPLOYMENT_BLOCKED");
        assert_eq!(told(&Value::Null), "the answer cannot be read");
    }
}
