//! Deadlines of new runs whose moment only a process with plugins and secrets can tell: the interval is a Variable, or what it
//! counts from is a class of a plugin.
//!
//! Official schedulers and API servers evaluate these while they make the run, and make none when that fails. Here the run is made,
//! and a Dag processor is asked for the deadline in the same transaction.
//!
//! Source: `SerializedVariableInterval` and `SerializedCustomReference` in `airflow/serialization/definitions/deadline.py`.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::{Connection, FromRow, PgConnection, PgPool, query, query_as, query_scalar};
use uuid::Uuid;

use super::alert::{AlertError, Interval, Reference};
use super::{RunDates, StoredAlert};
use crate::Result;

/// For how long somebody takes a request: longer than a plugin and a secrets backend may take together, as a rule. Who took
/// longer makes nothing that another has made.
const LEASE_SECONDS: f64 = 120.0;

/// A deadline that was asked for, taken to be made.
#[derive(Debug, Clone, FromRow)]
pub struct Wanted {
    #[sqlx(flatten)]
    alert: StoredAlert,
    dag_run_id: i32,
    /// The Dag.
    pub dag_id: String,
    /// The run's id within the Dag.
    pub run_id: String,
    requested_at: DateTime<Utc>,
}

/// How many other runs of its Dag a class of a plugin sees: the newest.
const SEEN_RUNS: i64 = 100;

/// Asks for the deadlines that these alerts give a run.
pub(super) async fn insert(
    connection: &mut PgConnection,
    dag_run_id: i32,
    alerts: &[Uuid],
    now: DateTime<Utc>,
) -> Result<()> {
    if alerts.is_empty() {
        return Ok(());
    }
    query(
        "INSERT INTO tradewind.deadline_request (dag_run_id, deadline_alert_id, requested_at) \
         SELECT $1, alert_id, $3 FROM unnest($2::uuid[]) AS alert_id",
    )
    .bind(dag_run_id)
    .bind(alerts)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes the oldest request for a Dag of the bundles.
pub async fn claim(pool: &PgPool, bundles: &[String]) -> Result<Option<Wanted>> {
    Ok(query_as(include_str!("../../queries/deadline/claim_request.sql"))
        .bind(bundles)
        .bind(LEASE_SECONDS)
        .fetch_optional(pool)
        .await?)
}

impl Wanted {
    /// The alert's id, for the log.
    pub fn alert_id(&self) -> Uuid {
        self.alert.id
    }

    /// How long after its reference the deadline is.
    ///
    /// # Errors
    /// The stored alert cannot be read.
    pub fn interval(&self) -> Result<Interval, AlertError> {
        Ok(self.alert.alert()?.interval)
    }

    /// The reference as it is stored, where it is an object of a plugin's class.
    ///
    /// # Errors
    /// The stored alert cannot be read.
    pub fn custom_reference(&self) -> Result<Option<&Value>, AlertError> {
        Ok((self.alert.alert()?.reference == Reference::Custom).then_some(&self.alert.reference))
    }

    /// Rows of `dag_run` for a class of a plugin: the run, and the newest ones of its Dag.
    pub async fn dag_runs(&self, pool: &PgPool) -> Result<Vec<Value>> {
        Ok(query_scalar(include_str!("../../queries/deadline/seen_runs.sql"))
            .bind(&self.dag_id)
            .bind(self.dag_run_id)
            .bind(SEEN_RUNS)
            .fetch_all(pool)
            .await?)
    }

    /// Makes the deadline, `interval` after `from`, or after what one of Airflow's own references names; and makes none
    /// where that is not known, where the run has ended in time, or where somebody else has done it. Returns when it is.
    pub async fn make(
        &self,
        pool: &PgPool,
        interval: TimeDelta,
        from: Option<DateTime<Utc>>,
    ) -> Result<Result<Option<DateTime<Utc>>, AlertError>> {
        let alert = match self.alert.alert() {
            Ok(alert) => alert,
            Err(error) => return Ok(Err(error)),
        };
        let mut connection = pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        let Some(run) = self.hold(&mut transaction).await? else { return Ok(Ok(None)) };
        if !self.delete(&mut transaction).await? {
            return Ok(Ok(None));
        }
        let from = match from {
            Some(from) => Some(from),
            None => {
                let dates = self.dates(&run);
                super::counts_from(&mut transaction, alert.reference, &self.dag_id, dates, self.requested_at).await?
            }
        };
        let time = match super::deadline_time(from, interval) {
            Ok(time) => time.filter(|time| !run.has_met(*time)),
            Err(error) => return Ok(Err(error)),
        };
        if let Some(time) = time {
            let row = self.alert.row(&alert, &self.dag_id, time);
            super::insert(&mut transaction, &self.dag_id, self.dag_run_id, vec![row], self.requested_at).await?;
        }
        transaction.commit().await?;
        Ok(Ok(time))
    }

    /// Gives up: there will be no such deadline.
    pub async fn drop(&self, pool: &PgPool) -> Result<()> {
        let mut connection = pool.acquire().await?;
        self.delete(&mut connection).await?;
        Ok(())
    }

    /// The run as it is now, which cannot end or be cleared until the transaction has ended; `None` when it is gone.
    async fn hold(&self, connection: &mut PgConnection) -> Result<Option<HeldRun>> {
        let statement = "SELECT state, logical_date, queued_at, end_date FROM dag_run WHERE id = $1 FOR NO KEY UPDATE";
        Ok(query_as(statement).bind(self.dag_run_id).fetch_optional(connection).await?)
    }

    /// False when somebody else has done it.
    async fn delete(&self, connection: &mut PgConnection) -> Result<bool> {
        let deleted = query("DELETE FROM tradewind.deadline_request WHERE dag_run_id = $1 AND deadline_alert_id = $2")
            .bind(self.dag_run_id)
            .bind(self.alert.id)
            .execute(connection)
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    fn dates(&self, run: &HeldRun) -> RunDates<'_> {
        RunDates {
            id: self.dag_run_id,
            run_id: &self.run_id,
            dag_version_id: None,
            logical_date: run.logical_date,
            queued_at: run.queued_at,
        }
    }
}

/// A run that is held.
#[derive(FromRow)]
struct HeldRun {
    state: String,
    logical_date: Option<DateTime<Utc>>,
    queued_at: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
}

impl HeldRun {
    /// Whether it succeeded by then.
    fn has_met(&self, time: DateTime<Utc>) -> bool {
        self.state == "success" && self.end_date.is_some_and(|end| end <= time)
    }
}

/// The length of time that a Variable holds: a whole number of seconds.
#[must_use]
pub fn length_of(variable: &str) -> Option<TimeDelta> {
    // As Python's `int` reads it: an underscore may stand between two digits.
    let text = variable.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let number = is_number.then(|| text.replace('_', "")).and_then(|text| text.parse().ok());
    number.and_then(TimeDelta::try_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_holds_whole_seconds() {
        assert_eq!(length_of(" 1_000\n"), Some(TimeDelta::seconds(1_000)));
        assert_eq!(length_of("-5"), Some(TimeDelta::seconds(-5)));
        for nonsense in ["", "-", "_1", "1__0", "1_", "1.5", "ten", "99999999999999999999", "9223372036854775807"] {
            assert_eq!(length_of(nonsense), None, "{nonsense}");
        }
    }
}
