//! Tokens by which the file of a log is asked of the machine that has it.
//!
//! Source: `JWTAuthStaticFiles` in `airflow/utils/serve_logs/log_server.py`, `_fetch_logs_from_service` in
//! `airflow/utils/log/file_task_handler.py`.

use crate::config::{Config, ConfigError};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use uuid::Uuid;

/// Whom the tokens are for.
const AUDIENCE: &str = "task-instance-logs";

/// Why a token does not open a file.
#[derive(Debug, thiserror::Error)]
pub enum LogTokenError {
    /// Signature, audience or a date is wrong, a claim is missing, or it is no token at all.
    #[error("the token is not valid: {0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// Its `iat` is no time, or lies in the future.
    #[error("the token was issued in the future, or does not say when")]
    IssuedInTheFuture,
    /// It names no file, or another one.
    #[error("the token is for {0}, and not for the file that is asked for")]
    OtherFile(String),
}

/// Signs and checks such tokens, with the secret that all components of a deployment share.
#[derive(Clone)]
pub struct LogTokens {
    signing_key: EncodingKey,
    header: Header,
    key: DecodingKey,
    validation: Validation,
    /// Seconds: how long a token is valid, and by how much clocks may differ.
    grace: i64,
}

impl std::fmt::Debug for LogTokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LogTokens").field("grace", &self.grace).finish_non_exhaustive()
    }
}

impl LogTokens {
    /// Tokens under a secret, that of `[api] secret_key`, with the leeway of `[webserver] log_request_clock_grace`.
    ///
    /// # Errors
    /// An option has a wrong value.
    pub fn new(config: &Config, secret: &str) -> Result<Self, ConfigError> {
        let grace = config.int("webserver", "log_request_clock_grace")?;
        let mut header = Header::new(Algorithm::HS512);
        header.kid = Some(config.optional("api_auth", "jwt_kid")?.unwrap_or("not-used").to_owned());
        let mut validation = Validation::new(Algorithm::HS512);
        validation.leeway = u64::try_from(grace)
            .map_err(|_| config.invalid("webserver", "log_request_clock_grace", "a whole number of at least 0"))?;
        validation.validate_nbf = true;
        validation.set_audience(&[AUDIENCE]);
        validation.required_spec_claims = HashSet::from(["exp", "nbf", "aud"].map(str::to_owned));
        Ok(Self {
            signing_key: EncodingKey::from_secret(secret.as_bytes()),
            header,
            key: DecodingKey::from_secret(secret.as_bytes()),
            validation,
            grace,
        })
    }

    /// A token for one file, by its path below the log folder.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn issue(&self, file: &str, now: DateTime<Utc>) -> Result<String, LogTokenError> {
        let now = now.timestamp();
        let claims = json!({
            "filename": file,
            "jti": Uuid::new_v4().simple().to_string(),
            "aud": AUDIENCE,
            "nbf": now,
            "exp": now + self.grace,
            "iat": now,
        });
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.signing_key)?)
    }

    /// Whether a token opens that file now.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, token: &str, file: &str) -> Result<(), LogTokenError> {
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &self.key, &self.validation)?.claims;
        let latest = Utc::now().timestamp().saturating_add(self.grace);
        let issued = claims.get("iat").and_then(Value::as_f64).ok_or(LogTokenError::IssuedInTheFuture)?;
        #[expect(clippy::cast_precision_loss, reason = "a time of these centuries")]
        if issued > latest as f64 {
            return Err(LogTokenError::IssuedInTheFuture);
        }
        match claims.get("filename") {
            Some(Value::String(named)) if named == file => Ok(()),
            Some(named) => Err(LogTokenError::OtherFile(named.to_string())),
            None => Err(LogTokenError::OtherFile("no file".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use chrono::TimeDelta;

    const FILE: &str = "dag_id=sales/run_id=scheduled__2026-11-01T00:00:00+00:00/task_id=load/attempt=1.log";

    fn tokens(secret: &str) -> LogTokens {
        let environment = Environment::default().with("AIRFLOW_HOME", "/nowhere");
        let config = Config::from_environment(&environment).expect("a valid configuration");
        LogTokens::new(&config, secret).expect("defaults sign")
    }

    fn signed(claims: &Value, algorithm: Algorithm) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(b"secret")).expect("a token")
    }

    #[test]
    fn a_token_opens_its_file_for_a_while() {
        let (tokens, now) = (tokens("secret"), Utc::now());
        let at = |seconds: i64| tokens.issue(FILE, now + TimeDelta::seconds(seconds)).expect("a token");
        assert!(tokens.check(&at(0), FILE).is_ok());
        assert!(matches!(tokens.check(&at(0), "attempt=2.log"), Err(LogTokenError::OtherFile(_))));
        // Valid for 30 s, and as much for clocks that differ.
        assert!(tokens.check(&at(-50), FILE).is_ok());
        assert!(tokens.check(&at(20), FILE).is_ok());
        assert!(tokens.check(&at(-70), FILE).is_err());
        assert!(tokens.check(&at(40), FILE).is_err());
        assert!(self::tokens("another").check(&at(0), FILE).is_err());
        assert!(tokens.check("no token", FILE).is_err());
    }

    #[test]
    fn a_claim_that_is_missing_or_wrong_closes_it() {
        let tokens = tokens("secret");
        let now = Utc::now().timestamp();
        let all = json!({"filename": FILE, "aud": AUDIENCE, "nbf": now, "exp": now + 30, "iat": now});
        assert!(tokens.check(&signed(&all, Algorithm::HS512), FILE).is_ok());
        assert!(tokens.check(&signed(&all, Algorithm::HS256), FILE).is_err(), "another algorithm");
        for claim in ["filename", "aud", "nbf", "exp", "iat"] {
            let mut claims = all.clone();
            claims.as_object_mut().expect("claims").shift_remove(claim);
            assert!(tokens.check(&signed(&claims, Algorithm::HS512), FILE).is_err(), "{claim}");
        }
        for (claim, value) in [("aud", json!("apache-airflow")), ("iat", json!(now + 40)), ("filename", json!(1))] {
            let mut claims = all.clone();
            claims[claim] = value;
            assert!(tokens.check(&signed(&claims, Algorithm::HS512), FILE).is_err(), "{claim}");
        }
    }
}
