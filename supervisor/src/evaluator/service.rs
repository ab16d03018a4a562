//! Answers questions that processes without Python left in the database (`tradewind_metadata::evaluation`).

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPool;
use tokio_util::sync::CancellationToken;
use tradewind_airflow::evaluation::Reply;
use tradewind_airflow::fernet::Fernet;
use tradewind_metadata::evaluation::{self, Asked};
use tradewind_metadata::{Database, MetadataError, Result, notify};

use super::Evaluator;

/// How long to wait before listening again when the database is away.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers at once whatever is asked, until the shutdown. `fernet` opens the connections that are to be tested.
pub async fn serve(database: Database, evaluator: Evaluator, fernet: Arc<Fernet>, shutdown: CancellationToken) {
    let mut listener = None;
    loop {
        let waiting = async {
            let listener = match &mut listener {
                Some(listener) => listener,
                none => none.insert(notify::listen(database.pool(), &[notify::EVALUATION]).await?),
            };
            // Before the first notification, and after a lost connection, something may have been asked already.
            answer_waiting(&database, &evaluator, Some(&fernet), Duration::ZERO).await?;
            listener.try_recv().await?;
            Ok::<_, MetadataError>(())
        };
        let outcome = tokio::select! {
            () = shutdown.cancelled() => return,
            outcome = waiting => outcome,
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "questions about plugins are not heard; trying again");
            listener = None;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Answers what has been asked `age` ago and was taken by nobody; tests of connections with their key only. Returns before
/// the answers are there.
///
/// # Errors
/// When the database cannot be reached.
pub async fn answer_waiting(
    database: &Database,
    evaluator: &Evaluator,
    fernet: Option<&Fernet>,
    age: Duration,
) -> Result<()> {
    loop {
        let asked = evaluation::claim(database.pool(), fernet, age).await?;
        if asked.is_empty() {
            return Ok(());
        }
        for asked in asked {
            tokio::spawn(answer(database.pool().clone(), evaluator.clone(), asked));
        }
    }
}

async fn answer(pool: PgPool, evaluator: Evaluator, asked: Asked) {
    let Asked { id, dag_id, question } = asked;
    let reply = evaluator.reply(&dag_id, &question).await;
    let reply = reply.unwrap_or_else(|error| Reply::Error(error.into_python()));
    if let Err(error) = evaluation::answer(&pool, id, &reply).await {
        tracing::warn!(dag_id, %error, "the answer of a plugin cannot be stored");
    }
}
