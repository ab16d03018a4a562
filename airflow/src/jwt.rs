//! JSON Web Tokens as Airflow issues and accepts them (`airflow/api_fastapi/auth/tokens.py`).

use crate::config::{Config, ConfigError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::{fs, io};
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

/// Why no token can be issued or checked.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `[api_auth] jwt_algorithm` does not fit the key.
    #[error("[api_auth] jwt_algorithm = {name} does not exist or does not fit the key; use {fitting}")]
    Algorithm {
        /// As configured.
        name: String,
        /// Those that do.
        fitting: &'static str,
    },
    /// A file of keys cannot be read.
    #[error("cannot read the file of [api_auth] {option} = {path}: {source}; name a file that this user may read")]
    File {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of keys holds something else.
    #[error("the file of [api_auth] {option} = {path} holds no {expected}")]
    Format {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// What a server sent is no set of keys that tokens can be checked with.
    #[error("it is no JSON Web Key Set with a public key of RSA, Ed25519 or an elliptic curve")]
    KeySet,
    /// The claims cannot be signed.
    #[error("cannot sign the token: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// Signs and checks the tokens of a deployment: with a shared secret, or with a private key and the public keys that it
/// trusts.
#[derive(Clone)]
pub struct Jwt {
    signing_key: EncodingKey,
    header: Header,
    trusted: Trusted,
    validation: Validation,
    issuer: Option<String>,
    audience: String,
}

/// What signatures are checked with.
#[derive(Clone)]
enum Trusted {
    Secret(DecodingKey),
    /// Public keys, of which a token names one.
    Keys(Vec<PublicKey>),
    /// The same, from an address: whoever fetches them brings them here.
    Fetched(Arc<FetchedKeys>),
}

/// Public keys that somebody fetches, and fetches anew.
#[derive(Default)]
struct FetchedKeys {
    url: String,
    keys: RwLock<Vec<PublicKey>>,
    /// How often they have changed.
    generation: AtomicU64,
}

#[derive(Clone)]
struct PublicKey {
    id: String,
    /// As the set has it.
    jwk: Jwk,
    key: DecodingKey,
    /// The one of the key's kind, or the one that the key set names.
    algorithm: Algorithm,
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
    /// Tokens for `audience` under the keys, issuer, algorithm, key id and leeway of section `[api_auth]`.
    ///
    /// `secret` stands in for an empty `[api_auth] jwt_secret`; Airflow then makes one up per process. A private key goes
    /// before the secret.
    pub fn new(config: &Config, secret: &str, audience: &str) -> Result<Self, JwtError> {
        let text = |key| config.optional("api_auth", key).map(|value| value.filter(|value| !value.is_empty()));
        let algorithms = config.list_of("api_auth", "jwt_algorithm")?;
        let algorithms: Vec<String> = algorithms.into_iter().filter(|name| name != "GUESS").collect();
        let private_key = text("jwt_private_key_path")?.map(|path| PrivateKey::read(Path::new(path))).transpose()?;
        let signing_key =
            private_key.as_ref().map_or_else(|| EncodingKey::from_secret(secret.as_bytes()), |key| key.key.clone());

        let best = private_key.as_ref().map_or(Algorithm::HS512, |key| key.algorithm);
        let mut header = Header::new(match algorithms.first() {
            Some(name) => fitting(name, signing_key.family())?,
            None => best,
        });
        let own_id = private_key.as_ref().map_or("not-used", |key| &key.id);
        header.kid = Some(text("jwt_kid")?.unwrap_or(own_id).to_owned());

        let trusted = match (text("trusted_jwks_url")?, &private_key) {
            (Some(url), _) if url.starts_with("http") => {
                Trusted::Fetched(Arc::new(FetchedKeys { url: url.to_owned(), ..FetchedKeys::default() }))
            }
            (Some(path), _) => Trusted::Keys(read_key_set(Path::new(path))?),
            (None, Some(key)) => Trusted::Keys(vec![key.public()?]),
            (None, None) => Trusted::Secret(DecodingKey::from_secret(secret.as_bytes())),
        };
        let issuers = config.list_of("api_auth", "jwt_issuer")?;
        let mut validation = Validation::new(best);
        // Which of them fits is decided by the key that a token is checked with.
        let known = algorithms.iter().map(|name| Algorithm::from_str(name).map_err(|_| unfitting(name, None)));
        validation.algorithms = known.collect::<Result<_, _>>()?;
        validation.leeway = u64::try_from(config.int("api_auth", "jwt_leeway")?).unwrap_or(0);
        validation.validate_nbf = true;
        validation.set_audience(&[audience]);
        validation.required_spec_claims = HashSet::from(["exp", "nbf", "aud"].map(str::to_owned));
        if !issuers.is_empty() {
            validation.set_issuer(&issuers);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        Ok(Self {
            signing_key,
            header,
            trusted,
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

    /// The address of the set of trusted keys, where it has one (`[api_auth] trusted_jwks_url`): until [`trust`](Self::trust)
    /// is called no token is.
    pub fn key_set_url(&self) -> Option<&str> {
        match &self.trusted {
            Trusted::Fetched(fetched) => Some(&fetched.url),
            Trusted::Secret(_) | Trusted::Keys(_) => None,
        }
    }

    /// How often the trusted keys have changed: what was found right before may not be right any more.
    pub fn generation(&self) -> u64 {
        match &self.trusted {
            Trusted::Fetched(fetched) => fetched.generation.load(Ordering::Acquire),
            Trusted::Secret(_) | Trusted::Keys(_) => 0,
        }
    }

    /// Trusts the keys of a fetched set from now on, and no others. Returns how many there are.
    ///
    /// # Errors
    /// It is none, or has no key of a kind that is known; those that were trusted before stay.
    pub fn trust(&self, set: &[u8]) -> Result<usize, JwtError> {
        let Trusted::Fetched(fetched) = &self.trusted else { return Ok(0) };
        let found = public_keys(set).filter(|keys| !keys.is_empty()).ok_or(JwtError::KeySet)?;
        let mut keys = fetched.keys.write().unwrap_or_else(PoisonError::into_inner);
        let count = found.len();
        if !found.iter().map(|key| &key.jwk).eq(keys.iter().map(|key| &key.jwk)) {
            *keys = found;
            fetched.generation.fetch_add(1, Ordering::Release);
        }
        Ok(count)
    }

    /// The claims of a token that this deployment trusts and that is valid now.
    pub fn check(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        let (key, algorithm) = self.key_for(token)?;
        let mut validation = self.validation.clone();
        // What a token says of its algorithm decides nothing: a public key must never serve as a secret.
        validation.algorithms.retain(|configured| configured.family() == key.family());
        if self.validation.algorithms.is_empty() {
            validation.algorithms.push(algorithm);
        }
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => TokenError::Expired,
                _ => TokenError::Invalid(error.to_string()),
            })?
            .claims;
        self.check_issue_time(&claims)?;
        Ok(claims)
    }

    /// A token is not from the future; the library looks at when it ends alone.
    fn check_issue_time(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let invalid = |reason: &str| TokenError::Invalid(reason.to_owned());
        let issued = claims.get("iat").ok_or_else(|| invalid("claim iat is missing"))?;
        let issued = issued.as_f64().ok_or_else(|| invalid("claim iat is no time"))?;
        let latest = jsonwebtoken::get_current_timestamp().saturating_add(self.validation.leeway);
        if issued > latest as f64 {
            return Err(invalid("it is not valid yet: claim iat is in the future"));
        }
        Ok(())
    }

    /// The key that checks a token, with the algorithm that goes with it.
    fn key_for(&self, token: &str) -> Result<(Cow<'_, DecodingKey>, Algorithm), TokenError> {
        let invalid = |reason: &str| TokenError::Invalid(reason.to_owned());
        let id = || {
            let header = jsonwebtoken::decode_header(token).map_err(|error| invalid(&error.to_string()))?;
            header.kid.ok_or_else(|| invalid("it names no key"))
        };
        let untrusted = || invalid("it names a key that is not trusted");
        match &self.trusted {
            Trusted::Secret(key) => Ok((Cow::Borrowed(key), Algorithm::HS512)),
            Trusted::Keys(keys) => {
                let key = named(keys, &id()?).ok_or_else(untrusted)?;
                Ok((Cow::Borrowed(&key.key), key.algorithm))
            }
            Trusted::Fetched(fetched) => {
                let keys = fetched.keys.read().unwrap_or_else(PoisonError::into_inner);
                let key = named(&keys, &id()?).ok_or_else(untrusted)?;
                Ok((Cow::Owned(key.key.clone()), key.algorithm))
            }
        }
    }
}

fn named<'a>(keys: &'a [PublicKey], id: &str) -> Option<&'a PublicKey> {
    keys.iter().find(|key| key.id == id)
}

/// The key of `[api_auth] jwt_private_key_path`.
struct PrivateKey {
    key: EncodingKey,
    algorithm: Algorithm,
    jwk: Jwk,
    /// The thumbprint of the public key, as Airflow takes it.
    id: String,
}

impl PrivateKey {
    fn read(path: &Path) -> Result<Self, JwtError> {
        const OPTION: &str = "jwt_private_key_path";
        let pem = read(OPTION, path)?;
        let rsa = EncodingKey::from_rsa_pem(&pem).map(|key| (key, Algorithm::RS256));
        let found = rsa.or_else(|_| EncodingKey::from_ed_pem(&pem).map(|key| (key, Algorithm::EdDSA)));
        let no_key = |_| JwtError::Format {
            option: OPTION,
            path: path.to_owned(),
            expected: "private key of RSA or Ed25519 in PEM",
        };
        let (key, algorithm) = found.map_err(no_key)?;
        let jwk = Jwk::from_encoding_key(&key, algorithm).map_err(no_key)?;
        let id = thumbprint(&jwk.algorithm);
        Ok(Self { key, algorithm, jwk, id })
    }

    fn public(&self) -> Result<PublicKey, JwtError> {
        let key = DecodingKey::from_jwk(&self.jwk)?;
        Ok(PublicKey { id: self.id.clone(), jwk: self.jwk.clone(), key, algorithm: self.algorithm })
    }
}

/// SHA-256 over the fields that PyJWT writes, sorted; of RSA keys they are more than RFC 7638 asks for.
fn thumbprint(key: &AlgorithmParameters) -> String {
    let fields = match key {
        AlgorithmParameters::RSA(key) => json!({"e": key.e, "key_ops": ["verify"], "kty": "RSA", "n": key.n}),
        AlgorithmParameters::OctetKeyPair(key) => json!({"crv": "Ed25519", "kty": "OKP", "x": key.x}),
        other => json!(other),
    };
    URL_SAFE_NO_PAD.encode(Sha256::digest(fields.to_string()))
}

/// The key set of `[api_auth] trusted_jwks_url`, a file.
fn read_key_set(path: &Path) -> Result<Vec<PublicKey>, JwtError> {
    const OPTION: &str = "trusted_jwks_url";
    let no_set = || JwtError::Format { option: OPTION, path: path.to_owned(), expected: "JSON Web Key Set" };
    public_keys(&read(OPTION, path)?).ok_or_else(no_set)
}

/// The keys of a set, if it is one. Those of unknown kinds are left out: tokens that name them are refused.
fn public_keys(set: &[u8]) -> Option<Vec<PublicKey>> {
    let set: Value = serde_json::from_slice(set).ok()?;
    // One by one: what is not known of one key is nothing against the others.
    let keys = set.get("keys")?.as_array()?.iter().filter_map(|key| Jwk::deserialize(key).ok());
    let public = |jwk: Jwk| {
        let named = jwk.common.key_algorithm.and_then(|name| Algorithm::from_str(&name.to_string()).ok());
        let of_kind = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::OctetKeyPair(_) => Algorithm::EdDSA,
            AlgorithmParameters::EllipticCurve(_) => Algorithm::ES256,
            // Secrets in a set of public keys, and kinds to come.
            _ => return None,
        };
        Some(PublicKey {
            key: DecodingKey::from_jwk(&jwk).ok()?,
            id: jwk.common.key_id.clone()?,
            algorithm: named.unwrap_or(of_kind),
            jwk,
        })
    };
    Some(keys.filter_map(public).collect())
}

fn read(option: &'static str, path: &Path) -> Result<Vec<u8>, JwtError> {
    fs::read(path).map_err(|source| JwtError::File { option, path: path.to_owned(), source })
}

/// The algorithm of that name, when keys of the family can sign with it.
fn fitting(name: &str, family: AlgorithmFamily) -> Result<Algorithm, JwtError> {
    let algorithm = Algorithm::from_str(name).ok().filter(|algorithm| algorithm.family() == family);
    algorithm.ok_or_else(|| unfitting(name, Some(family)))
}

fn unfitting(name: &str, family: Option<AlgorithmFamily>) -> JwtError {
    let fitting = match family {
        Some(AlgorithmFamily::Hmac) => "HS256, HS384 or HS512 with a secret",
        Some(AlgorithmFamily::Rsa) => "RS256, RS384, RS512, PS256, PS384 or PS512 with an RSA key",
        Some(AlgorithmFamily::Ed) => "EdDSA with an Ed25519 key",
        _ => "one of HS512, RS256 and EdDSA, or leave it out",
    };
    JwtError::Algorithm { name: name.to_owned(), fitting }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/jwt");

    fn configured(options: &[(&str, &str)], secret: &str) -> Result<Jwt, JwtError> {
        let environment = options.iter().fold(Environment::default(), |environment, (name, value)| {
            environment.with(format!("AIRFLOW__API_AUTH__{}", name.to_uppercase()), *value)
        });
        Jwt::for_users(&Config::from_environment(&environment).expect("a valid configuration"), secret)
    }

    fn tokens(secret: &str) -> Jwt {
        configured(&[], secret).expect("defaults sign")
    }

    fn with_key(name: &str) -> Jwt {
        configured(&[("jwt_private_key_path", &format!("{FIXTURES}/{name}.pem"))], "unused").expect("a key")
    }

    fn user() -> Map<String, Value> {
        Map::from_iter([("sub".to_owned(), "admin".into()), ("role".to_owned(), "admin".into())])
    }

    fn issue(jwt: &Jwt) -> String {
        jwt.issue(user(), Utc::now(), 60).expect("signs")
    }

    fn official() -> Value {
        let text = fs::read_to_string(format!("{FIXTURES}/tokens.json")).expect("recorded tokens");
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn accepts_what_it_issued() {
        let jwt = tokens("secret");
        let token = issue(&jwt);
        let claims = jwt.check(&token).expect("valid");
        assert_eq!(claims["sub"], "admin");
        assert_eq!(claims["aud"], DEFAULT_AUDIENCE);
        assert_eq!(claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat), Some(60));
        let header = jsonwebtoken::decode_header(&token).expect("has a header");
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::HS512, Some("not-used")));
    }

    #[test]
    fn accepts_what_official_airflow_signs_with_any_kind_of_key() {
        let official = official();
        let token = |name: &str| official[name]["token"].as_str().expect("a token");
        assert_eq!(tokens(&"s".repeat(64)).check(token("secret")).expect("valid")["sub"], "admin");
        let by_set = configured(&[("trusted_jwks_url", &format!("{FIXTURES}/jwks.json"))], "s").expect("a key set");
        for name in ["rsa", "ed25519"] {
            let jwt = with_key(name);
            assert_eq!(jwt.check(token(name)).expect("valid")["role"], "admin");
            assert_eq!(by_set.check(token(name)).expect("valid")["role"], "admin");
            // Ours name the key as official ones do, so official components find it.
            let header = jsonwebtoken::decode_header(issue(&jwt)).expect("has a header");
            assert_eq!(header.kid.as_deref(), official[name]["kid"].as_str());
            assert!(by_set.check(&issue(&jwt)).is_ok());
        }
        assert!(matches!(with_key("rsa").check(token("ed25519")), Err(TokenError::Invalid(_))));
    }

    #[test]
    fn refuses_old_and_foreign_tokens() {
        let jwt = tokens("secret");
        let old = |seconds| jwt.issue(user(), Utc::now() - chrono::Duration::seconds(seconds), 60).expect("signs");
        assert!(matches!(jwt.check(&old(120)), Err(TokenError::Expired)));
        // Clocks may differ a little: jwt_leeway is 10 s.
        assert!(jwt.check(&old(65)).is_ok());
        let strict = configured(&[("jwt_leeway", "0")], "secret").expect("signs");
        assert!(matches!(strict.check(&old(65)), Err(TokenError::Expired)));
        assert!(jwt.check(&old(-5)).is_ok());
        assert!(matches!(strict.check(&old(-5)), Err(TokenError::Invalid(_))));
        let others = [
            tokens("other"),
            configured(&[("jwt_audience", "another")], "secret").expect("signs"),
            configured(&[("jwt_algorithm", "HS256")], "secret").expect("signs"),
            with_key("rsa"),
        ];
        for other in &others {
            assert!(matches!(jwt.check(&issue(other)), Err(TokenError::Invalid(_))), "{other:?}");
        }
        let of_issuer = configured(&[("jwt_issuer", "me,also-me")], "secret").expect("signs");
        assert!(matches!(of_issuer.check(&issue(&jwt)), Err(TokenError::Invalid(_))));
        assert_eq!(of_issuer.check(&issue(&of_issuer)).expect("valid")["iss"], "me");
        let also = configured(&[("jwt_issuer", "also-me")], "secret").expect("signs");
        assert!(of_issuer.check(&issue(&also)).is_ok());
    }

    #[test]
    fn what_a_token_says_of_its_algorithm_decides_nothing() {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({"sub": "admin", "role": "admin", "aud": DEFAULT_AUDIENCE, "nbf": 0, "iat": 0, "exp": 4102444800_u32});
        let unsigned = format!("{}.{}.", part(json!({"alg": "none", "typ": "JWT"})), part(claims.clone()));
        assert!(matches!(tokens("secret").check(&unsigned), Err(TokenError::Invalid(_))));

        // Signed with what everybody knows of the key, as if it were a secret.
        let jwt = with_key("rsa");
        let mut header = Header::new(Algorithm::HS256);
        header.kid.clone_from(&jwt.header.kid);
        let Trusted::Keys(keys) = &jwt.trusted else { panic!("public keys") };
        let known = fs::read(format!("{FIXTURES}/jwks.json")).expect("the key set");
        for secret in [known, format!("{:?}", keys[0].id).into_bytes()] {
            let forged = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&secret)).expect("signs");
            assert!(matches!(jwt.check(&forged), Err(TokenError::Invalid(_))));
        }
        // A token that names no key, or one that is not trusted.
        for id in [None, Some("other".to_owned())] {
            let header = Header { kid: id, ..jwt.header.clone() };
            let token = jsonwebtoken::encode(&header, &claims, &jwt.signing_key).expect("signs");
            assert!(matches!(jwt.check(&token), Err(TokenError::Invalid(_))));
        }
    }

    #[test]
    fn fetched_keys_are_those_of_the_last_set() {
        let official = official();
        let token = |name: &str| official[name]["token"].as_str().expect("a token");
        let jwt = configured(&[("trusted_jwks_url", "https://example.org/jwks.json")], "s").expect("an address");
        assert_eq!(jwt.key_set_url(), Some("https://example.org/jwks.json"));
        assert!(matches!(jwt.check(token("rsa")), Err(TokenError::Invalid(_))), "nothing was fetched");
        let both: Value =
            serde_json::from_slice(&fs::read(format!("{FIXTURES}/jwks.json")).expect("the key set")).expect("JSON");
        let trust = |set: Value| jwt.trust(set.to_string().as_bytes());
        assert_eq!(trust(both.clone()).expect("a set"), 2);
        assert_eq!(trust(both.clone()).expect("the same set"), 2);
        assert_eq!(jwt.generation(), 1);
        for name in ["rsa", "ed25519"] {
            assert_eq!(jwt.check(token(name)).expect("valid")["sub"], "admin", "{name}");
        }
        // What is no set, or has no key that can be used, leaves things as they are.
        for wrong in [json!([]), json!({}), json!({"keys": []}), json!({"keys": [{"kty": "new", "kid": "a"}, 1]})] {
            assert!(matches!(trust(wrong.clone()), Err(JwtError::KeySet)), "{wrong}");
        }
        assert!(jwt.check(token("rsa")).is_ok());
        let ed25519 = official["ed25519"]["kid"].as_str();
        let keys: Vec<&Value> =
            both["keys"].as_array().expect("keys").iter().filter(|key| key["kid"].as_str() == ed25519).collect();
        assert_eq!(trust(json!({"keys": keys})).expect("a set"), 1);
        assert_eq!(jwt.generation(), 2);
        assert!(jwt.check(token("ed25519")).is_ok());
        assert!(matches!(jwt.check(token("rsa")), Err(TokenError::Invalid(_))));
    }

    #[test]
    fn keys_and_algorithms_that_do_not_fit_are_refused_at_the_start() {
        let rsa = format!("{FIXTURES}/rsa.pem");
        let set = format!("{FIXTURES}/jwks.json");
        let refused = |options: &[(&str, &str)]| configured(options, "s").expect_err("refused").to_string();
        assert!(refused(&[("jwt_algorithm", "RS256")]).contains("HS512 with a secret"));
        assert!(refused(&[("jwt_private_key_path", &rsa), ("jwt_algorithm", "HS512")]).contains("RSA key"));
        assert!(refused(&[("jwt_private_key_path", "/nowhere")]).contains("/nowhere"));
        assert!(refused(&[("jwt_private_key_path", &set)]).contains("private key"));
        assert!(refused(&[("trusted_jwks_url", &rsa)]).contains("JSON Web Key Set"));
        assert!(configured(&[("jwt_private_key_path", &rsa), ("jwt_algorithm", "PS512")], "s").is_ok());
    }
}
