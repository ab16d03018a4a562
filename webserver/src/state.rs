//! What every handler can reach.

use crate::api_v2::dag_runs::{Lookup, NewRuns};
use crate::api_v2::logs::LoggedAttempts;
use crate::audit::Records;
use crate::auth::{self, AuthManager, CheckedTokens, KeySet};
use crate::batches::Batches;
use crate::kept::{SharedWork, Snapshot};
use crate::kept_logs::KeptLogs;
use crate::openapi::Documents;
use crate::options::{Options, OptionsError};
use crate::run_id::RunIdRule;
use crate::serialized_dag::DagCache;
use crate::served_logs::ServedLogs;
use crate::shared_answer::SharedAnswers;
use crate::single_flight::SingleFlight;
use bytes::Bytes;
use sqlx::PgPool;
use std::ops::Deref;
use std::sync::Arc;
use tradewind_airflow::config::Config;
use tradewind_airflow::fernet::Fernet;
use tradewind_airflow::jwt::Jwt;
use tradewind_airflow::secrets_masker::SecretsMasker;
use tradewind_airflow::simple_auth::SimpleAuth;
use tradewind_metadata::serialized_dag::Cache;
use tradewind_remote_log::Reader;

/// The shared state; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

/// What [`App`] points to.
pub(crate) struct Shared {
    /// The metadata database.
    pub pool: PgPool,
    /// The configuration.
    pub config: Config,
    /// The options of the web server.
    pub options: Options,
    /// The users.
    pub users: SimpleAuth,
    /// Says who may do what.
    pub auth_manager: Arc<dyn AuthManager>,
    /// Signs and checks session tokens.
    pub jwt: Jwt,
    /// Fetches the keys that session tokens are checked with, where they are at an address.
    pub key_set: Option<KeySet>,
    /// Encrypts what connections and variables hold.
    pub fernet: Fernet,
    /// Hides secrets in answers and audit records.
    pub masker: SecretsMasker,
    /// Reads logs of attempts from where they go besides files, if they go anywhere.
    pub remote_logs: Option<Reader>,
    /// Asks workers and triggerers on other machines for logs.
    pub served_logs: ServedLogs,
    /// What the database says of attempts whose logs are read.
    pub logged_attempts: LoggedAttempts,
    /// Logs whose files have not changed since.
    pub logs: KeptLogs,
    /// Tokens that were checked lately.
    pub checked_tokens: CheckedTokens,
    /// Whether tokens are revoked, as is being asked.
    pub revocations: SingleFlight<Arc<str>, (bool, Snapshot)>,
    /// Answers that are being made, and those that still hold.
    pub answers: SharedAnswers,
    /// Lines of the grid, by Dag and run.
    pub grid_lines: SharedWork<(String, String), Option<Bytes>>,
    /// Dags in serialized form, as pages show them.
    pub dags: DagCache,
    /// Which ids runs may be given.
    pub run_ids: RunIdRule,
    /// The OpenAPI documents.
    pub openapi: Documents,
    /// Dags as the scheduler sees them.
    pub scheduled_dags: Cache,
    /// Records of the audit log that are about to be written.
    pub records: Batches<Records>,
    /// Dags that are about to be run by hand.
    pub triggered: Batches<Lookup>,
    /// Runs that are about to be made.
    pub new_runs: Batches<NewRuns>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// `auth_manager` decides in place of the one that `[core] auth_manager` names.
    pub(crate) fn new(
        pool: PgPool,
        config: Config,
        options: Options,
        auth_manager: Option<Arc<dyn AuthManager>>,
    ) -> Result<Self, OptionsError> {
        let users = SimpleAuth::from_config(&config)?;
        let auth_manager = auth_manager.map_or_else(|| auth::manager(&config, &users), Ok)?;
        let jwt = Jwt::for_users(&config, &options.jwt_secret)?;
        Ok(Self(Arc::new(Shared {
            auth_manager,
            users,
            key_set: KeySet::of(&jwt, &config)?,
            jwt,
            fernet: Fernet::new(&config.string("core", "fernet_key")?)?,
            masker: SecretsMasker::from_config(&config)?,
            remote_logs: Reader::from_config(&config)?,
            served_logs: ServedLogs::new(&config, &options)?,
            logged_attempts: LoggedAttempts::default(),
            logs: KeptLogs::default(),
            checked_tokens: CheckedTokens::default(),
            revocations: SingleFlight::default(),
            answers: SharedAnswers::default(),
            grid_lines: SharedWork::default(),
            dags: DagCache::new(options.dag_cache_size),
            run_ids: RunIdRule::from_config(&config)?,
            openapi: Documents::default(),
            scheduled_dags: Cache::default(),
            records: Batches::new(Records(pool.clone())),
            triggered: Batches::new(Lookup(pool.clone())),
            new_runs: Batches::new(NewRuns(pool.clone())),
            pool,
            config,
            options,
        })))
    }
}
