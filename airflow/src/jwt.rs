//! JSON Web Tokens as Airflow issues and accepts them (`airflow/api_fastapi/auth/tokens.py`).

use crate::config::{Config, ConfigError};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::str::FromStr;
use uuid::Uuid;

/// Audience of the tokens of the REST API and the UI when `[api_auth] jwt_audience` is unset.
pub const DEFAULT_AUDIENCE: &str = "apache-airflow";

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The signature is right, but `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// Anything else: signature, audience, issuer, a missing claim, no token at all.
    #[error("the token is not valid: {0}")]
    Invalid(String),
}

/// Why no token can be issued.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `[api_auth] jwt_algorithm` names an algorithm that does not exist or needs a key pair.
    #[error("[api_auth] jwt_algorithm = {0} cannot sign with a shared secret; use HS256, HS384 or HS512")]
    Algorithm(String),
    /// The claims cannot be signed.
    #[error("cannot sign the token: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// Signs and checks tokens with the shared secret of a deployment.
#[derive(Clone)]
pub struct Jwt {
    signing_key: EncodingKey,
    checking_key: DecodingKey,
    header: Header,
    validation: Validation,
    issuer: Option<String>,
    audience: String,
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Jwt")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

impl Jwt {
    /// Tokens for `audience` under the secret, issuer, algorithm, key id and leeway of section `[api_auth]`.
    ///
    /// `secret` stands in for an empty `[api_auth] jwt_secret`; Airflow then makes one up per process.
    pub fn new(config: &Config, secret: &str, audience: &str) -> Result<Self, JwtError> {
        let text = |key| config.optional("api_auth", key).map(|value| value.filter(|value| !value.is_empty()));
        let configured = text("jwt_algorithm")?.unwrap_or("HS512");
        let first = configured.split(',').next().unwrap_or(configured).trim();
        let algorithm = if first == "GUESS" { Algorithm::HS512 } else { shared_secret_algorithm(first)? };
        let issuers = config.list_of("api_auth", "jwt_issuer")?;

        let mut header = Header::new(algorithm);
        header.kid = Some(text("jwt_kid")?.unwrap_or("not-used").to_owned());
        let mut validation = Validation::new(algorithm);
        validation.leeway = u64::try_from(config.int("api_auth", "jwt_leeway")?).unwrap_or(0);
        validation.validate_nbf = true;
        validation.set_audience(&[audience]);
        validation.required_spec_claims = HashSet::from(["exp", "nbf", "aud"].map(str::to_owned));
        if !issuers.is_empty() {
            validation.set_issuer(&issuers);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        Ok(Self {
            signing_key: EncodingKey::from_secret(secret.as_bytes()),
            checking_key: DecodingKey::from_secret(secret.as_bytes()),
            header,
            validation,
            issuer: issuers.into_iter().next(),
            audience: audience.to_owned(),
        })
    }

    /// Tokens of the REST API and the UI: the audience is `[api_auth] jwt_audience`.
    pub fn for_users(config: &Config, secret: &str) -> Result<Self, JwtError> {
        let audience = config.optional("api_auth", "jwt_audience")?.filter(|value| !value.is_empty());
        Self::new(config, secret, audience.unwrap_or(DEFAULT_AUDIENCE))
    }

    /// Issues a token that is valid from `now` for `seconds`; the registered claims win over `claims`.
    pub fn issue(&self, mut claims: Map<String, Value>, now: DateTime<Utc>, seconds: i64) -> Result<String, JwtError> {
        let now = now.timestamp();
        claims.insert("jti".to_owned(), Uuid::new_v4().simple().to_string().into());
        if let Some(issuer) = &self.issuer {
            claims.insert("iss".to_owned(), issuer.clone().into());
        }
        claims.insert("aud".to_owned(), self.audience.clone().into());
        claims.insert("nbf".to_owned(), now.into());
        claims.insert("exp".to_owned(), (now + seconds).into());
        claims.insert("iat".to_owned(), now.into());
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.signing_key)?)
    }

    /// The claims of a token that this deployment signed and that is valid now.
    pub fn check(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &self.checking_key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => TokenError::Expired,
                _ => TokenError::Invalid(error.to_string()),
            })?
            .claims;
        if !claims.contains_key("iat") {
            return Err(TokenError::Invalid("claim iat is missing".to_owned()));
        }
        Ok(claims)
    }
}

fn shared_secret_algorithm(name: &str) -> Result<Algorithm, JwtError> {
    match Algorithm::from_str(name) {
        Ok(algorithm @ (Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)) => Ok(algorithm),
        _ => Err(JwtError::Algorithm(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn tokens(secret: &str) -> Jwt {
        let config = Config::from_environment(&Environment::default()).expect("defaults are valid");
        Jwt::for_users(&config, secret).expect("defaults sign")
    }

    fn user() -> Map<String, Value> {
        Map::from_iter([("sub".to_owned(), "admin".into()), ("role".to_owned(), "admin".into())])
    }

    #[test]
    fn accepts_what_it_issued() {
        let jwt = tokens("secret");
        let token = jwt.issue(user(), Utc::now(), 60).expect("signs");
        let claims = jwt.check(&token).expect("valid");
        assert_eq!(claims["sub"], "admin");
        assert_eq!(claims["aud"], DEFAULT_AUDIENCE);
        assert_eq!(claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(60));
        let header = jsonwebtoken::decode_header(&token).expect("has a header");
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::HS512, Some("not-used")));
    }

    #[test]
    fn refuses_old_and_foreign_tokens() {
        let jwt = tokens("secret");
        let old = jwt.issue(user(), Utc::now() - chrono::Duration::seconds(120), 60).expect("signs");
        assert!(matches!(jwt.check(&old), Err(TokenError::Expired)));
        let foreign = tokens("other").issue(user(), Utc::now(), 60).expect("signs");
        assert!(matches!(jwt.check(&foreign), Err(TokenError::Invalid(_))));
    }
}
