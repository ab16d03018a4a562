//! Makes the deadlines of new runs whose moment only a process with plugins and secrets can tell.
//!
//! Source: `_process_dagrun_deadline_alerts` in `airflow/serialization/definitions/dag.py`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};
use tradewind_airflow::evaluation::DeadlineReference;
use tradewind_airflow::supervisor_protocol::response::ErrorResponse;
use tradewind_airflow::supervisor_protocol::to_supervisor::{GetVariable, ToSupervisor};
use tradewind_metadata::deadline::request::{self, Wanted, length_of};
use tradewind_metadata::deadline::{AlertError, Interval};
use tradewind_metadata::{Database, MetadataError};
use tradewind_supervisor::evaluator::{EvaluationError, Evaluator};
use tradewind_supervisor::requests::{Answers, Scope};

/// How often requests are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What deadlines are evaluated with.
#[derive(Debug, Clone)]
pub(crate) struct Evaluation {
    pub(crate) database: Database,
    pub(crate) answers: Answers,
    pub(crate) evaluator: Evaluator,
    pub(crate) bundles: Vec<String>,
}

/// Why a run has no such deadline.
#[derive(Debug, thiserror::Error)]
enum NoDeadline {
    #[error(transparent)]
    Alert(#[from] AlertError),
    #[error("its interval is the Variable \"{0}\", which does not exist\nhint: set it to a whole number of seconds")]
    NoVariable(String),
    #[error("its interval is the Variable \"{0}\", which is no whole number of seconds")]
    NoLength(String),
    #[error("its interval is the Variable \"{key}\", which cannot be read: {reason}")]
    Unread { key: String, reason: String },
    #[error("the class that it counts from failed: {0}\nhint: its session shows the runs of the Dag, and nothing else")]
    Reference(#[from] EvaluationError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl NoDeadline {
    /// Whether it may be otherwise in a minute or two.
    fn may_pass(&self) -> bool {
        match self {
            Self::Metadata(_) | Self::Unread { .. } => true,
            Self::Reference(error) => matches!(error, EvaluationError::Resting { .. } | EvaluationError::Host(_)),
            Self::Alert(_) | Self::NoVariable(_) | Self::NoLength(_) => false,
        }
    }
}

/// Makes deadlines until it is dropped.
pub(crate) async fn serve(evaluation: Evaluation) {
    let mut tick = interval(LOOK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        loop {
            // One at a time: others are not to wait for one whose plugin hangs longer than it does.
            match request::claim(evaluation.database.pool(), &evaluation.bundles).await {
                Ok(Some(wanted)) => evaluation.make(&wanted).await,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "deadlines of new runs are not seen; trying again");
                    break;
                }
            }
        }
    }
}

impl Evaluation {
    async fn make(&self, wanted: &Wanted) {
        let (dag_id, run_id, deadline_alert_id) = (&wanted.dag_id, &wanted.run_id, wanted.alert_id());
        let error = match self.evaluate(wanted).await {
            Ok(deadline_time) => {
                tracing::debug!(dag_id, run_id, %deadline_alert_id, ?deadline_time, "a deadline was evaluated");
                return;
            }
            // The lease ends, and it is tried again.
            Err(error) if error.may_pass() => {
                tracing::warn!(dag_id, run_id, %deadline_alert_id, %error, "a deadline cannot be made now");
                return;
            }
            Err(error) => error,
        };
        tracing::error!(dag_id, run_id, %deadline_alert_id, %error, "the run has no such deadline");
        if let Err(error) = wanted.drop(self.database.pool()).await {
            tracing::warn!(dag_id, run_id, %deadline_alert_id, %error, "a deadline is asked for again");
        }
    }

    async fn evaluate(&self, wanted: &Wanted) -> Result<Option<DateTime<Utc>>, NoDeadline> {
        let interval = match wanted.interval()? {
            Interval::Length(length) => length,
            Interval::Variable(key) => self.length(key).await?,
        };
        let from = match wanted.custom_reference()? {
            None => None,
            Some(reference) => match self.moment(wanted, reference).await? {
                Some(moment) => Some(moment),
                None => {
                    wanted.drop(self.database.pool()).await?;
                    return Ok(None);
                }
            },
        };
        Ok(wanted.make(self.database.pool(), interval, from).await??)
    }

    /// The length of time that a Variable holds, wherever Variables are kept.
    async fn length(&self, key: String) -> Result<TimeDelta, NoDeadline> {
        let asked = ToSupervisor::GetVariable(GetVariable { key: key.clone(), of_backend: false });
        let answer = match self.answers.answer(Scope::Deadline, asked).await {
            Ok(answer) => answer.unwrap_or_default(),
            Err(ErrorResponse { error, detail }) => {
                let reason = format!("{error:?} {}", detail.unwrap_or_default());
                return Err(NoDeadline::Unread { key, reason });
            }
        };
        match answer["value"].as_str() {
            Some(value) => length_of(value).ok_or(NoDeadline::NoLength(key)),
            None => Err(NoDeadline::NoVariable(key)),
        }
    }

    async fn moment(&self, wanted: &Wanted, reference: &Value) -> Result<Option<DateTime<Utc>>, NoDeadline> {
        let question = DeadlineReference {
            reference: reference.clone(),
            dag_id: wanted.dag_id.clone(),
            run_id: wanted.run_id.clone(),
            dag_runs: wanted.dag_runs(self.database.pool()).await?,
        };
        Ok(self.evaluator.ask(&wanted.dag_id, question).await?.moment)
    }
}
