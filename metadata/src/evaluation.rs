//! Questions to Python by way of the database, for processes that have no Python of their own.
//!
//! Who asks leaves a row and waits for the reply in it. A Dag processor, which has a warm interpreter, answers at once; a
//! scheduler answers what nobody has taken for a while.

use std::time::Duration;

use serde_json::json;
use sqlx::postgres::PgPool;
use sqlx::{FromRow, query, query_scalar};
use tokio::time::{Instant, sleep};
use tradewind_airflow::evaluation::{Ask, PythonError, Question, Reply};
use tradewind_airflow::fernet::Fernet;
use uuid::Uuid;

use crate::{MetadataError, dag_document, notify};

/// How long a question waits for its answer: longer than `[tradewind] evaluation_timeout` by default, by the time that a
/// scheduler takes to start an interpreter.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often the row is looked at, at first; the pause grows with the waiting.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const SLOWEST_LOOK: Duration = Duration::from_millis(250);

/// What PostgreSQL says of `\u0000` in a value of type `jsonb`.
const UNTRANSLATABLE_CHARACTER: &str = "22P05";

/// Questions taken at once.
const BATCH: i64 = 32;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The plugin failed.
    #[error("{0}")]
    Python(PythonError),
    /// Nobody answers.
    #[error(
        "nobody has evaluated a plugin of Dag {dag_id} within {seconds} s\nhint: start `tradewind dag-processor`, or give the scheduler an environment with Airflow ([tradewind] venv)"
    )]
    Nobody {
        /// The Dag.
        dag_id: String,
        /// How long it was waited.
        seconds: u64,
    },
    /// The database refused, or the answer cannot be read.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl From<sqlx::Error> for AskError {
    fn from(error: sqlx::Error) -> Self {
        Self::Metadata(error.into())
    }
}

impl From<AskError> for MetadataError {
    /// For callers that tell a person: what a plugin says is about what was asked for.
    fn from(error: AskError) -> Self {
        match error {
            AskError::Metadata(error) => error,
            other => Self::Invalid(other.to_string()),
        }
    }
}

/// Asks about a Dag and waits for the answer. Never to be called while a transaction is open: the answer may take long.
///
/// # Errors
/// The plugin failed, or nobody answered within `patience`.
pub async fn ask<Q: Ask>(pool: &PgPool, dag_id: &str, question: Q, patience: Duration) -> Result<Q::Answer, AskError> {
    let id = Uuid::now_v7();
    let question: Question = question.into();
    let mut transaction = pool.begin().await?;
    query("INSERT INTO tradewind.evaluation (id, dag_id, question) VALUES ($1, $2, $3)")
        .bind(id)
        .bind(dag_id)
        .bind(json!(question))
        .execute(&mut *transaction)
        .await?;
    notify::send(&mut transaction, notify::EVALUATION, &[id]).await?;
    transaction.commit().await?;
    let reply = wait(pool, id, patience).await;
    query("DELETE FROM tradewind.evaluation WHERE id = $1").bind(id).execute(pool).await?;
    match reply? {
        Some(Reply::Answer(answer)) => serde_json::from_value(answer)
            .map_err(|error| MetadataError::Corrupt(format!("answer of a plugin of Dag {dag_id}: {error}")).into()),
        Some(Reply::Error(error)) => Err(AskError::Python(error)),
        None => Err(AskError::Nobody { dag_id: dag_id.to_owned(), seconds: patience.as_secs() }),
    }
}

async fn wait(pool: &PgPool, id: Uuid, patience: Duration) -> Result<Option<Reply>, AskError> {
    let deadline = Instant::now() + patience;
    let mut pause = FIRST_LOOK;
    loop {
        sleep(pause).await;
        let reply: Option<Option<serde_json::Value>> =
            query_scalar("SELECT reply FROM tradewind.evaluation WHERE id = $1").bind(id).fetch_optional(pool).await?;
        if let Some(Some(reply)) = reply {
            let reply = serde_json::from_value(reply);
            return reply
                .map(Some)
                .map_err(|error| MetadataError::Corrupt(format!("tradewind.evaluation.reply: {error}")).into());
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        pause = (pause * 2).min(SLOWEST_LOOK);
    }
}

/// A question that was taken to be answered.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Of the row.
    pub id: Uuid,
    /// The Dag it is about.
    pub dag_id: String,
    /// What is asked, complete.
    pub question: Question,
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    dag_id: String,
    question: serde_json::Value,
}

/// Takes questions that have waited for `age`, each for one process only, and forgets those that nobody waits for.
///
/// Without `fernet` tests of connections are left to others.
pub async fn claim(pool: &PgPool, fernet: Option<&Fernet>, age: Duration) -> Result<Vec<Asked>, MetadataError> {
    let rows: Vec<Row> = sqlx::query_as(include_str!("../queries/evaluation/claim.sql"))
        .bind(age.as_secs_f64())
        .bind(BATCH)
        .bind(fernet.is_some())
        .fetch_all(pool)
        .await?;
    let mut asked = Vec::with_capacity(rows.len());
    for Row { id, dag_id, question } in rows {
        match complete(pool, fernet, question).await {
            Ok(question) => asked.push(Asked { id, dag_id, question }),
            Err(error) => answer(pool, id, &Reply::Error(PythonError::new(error.to_string()))).await?,
        }
    }
    Ok(asked)
}

/// Adds what who asks has left out.
async fn complete(
    pool: &PgPool,
    fernet: Option<&Fernet>,
    question: serde_json::Value,
) -> Result<Question, MetadataError> {
    let mut question: Question = serde_json::from_value(question)
        .map_err(|error| MetadataError::Corrupt(format!("tradewind.evaluation.question: {error}")))?;
    if let Question::PriorityWeights(wanted) = &mut question {
        let mut connection = pool.acquire().await?;
        let document = dag_document::of_version(&mut connection, wanted.dag_version_id).await?;
        let version = wanted.dag_version_id;
        let missing = || MetadataError::NotFound(format!("version {version} of a Dag is not in the database"));
        wanted.dag = document.ok_or_else(missing)?.as_value().clone();
    }
    if let (Question::ConnectionTest(test), Some(fernet)) = (&mut question, fernet) {
        let sealed = std::mem::take(&mut test.sealed);
        let unreadable = || MetadataError::Corrupt("the connection to test was encrypted with another key".to_owned());
        let opened = fernet.decrypt(&sealed).map_err(|_| unreadable())?;
        test.connection = Some(serde_json::from_str(&opened).map_err(|_| unreadable())?);
    }
    Ok(question)
}

/// Answers a question; nothing happens when nobody waits any more. What the database does not store is an error of the
/// plugin.
pub async fn answer(pool: &PgPool, id: Uuid, reply: &Reply) -> Result<(), MetadataError> {
    match store(pool, id, reply).await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNTRANSLATABLE_CHARACTER) => {
            let message = "ValueError: the answer holds a NUL character, which the database does not store";
            Ok(store(pool, id, &Reply::Error(PythonError::new(message))).await?)
        }
        stored => Ok(stored?),
    }
}

async fn store(pool: &PgPool, id: Uuid, reply: &Reply) -> sqlx::Result<()> {
    query("UPDATE tradewind.evaluation SET reply = $2 WHERE id = $1").bind(id).bind(json!(reply)).execute(pool).await?;
    Ok(())
}
