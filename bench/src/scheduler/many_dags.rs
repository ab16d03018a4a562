//! Many Dags with a schedule of their own.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use tradewind_bench::dags::dag;

use crate::deployment::{Deployment, PATIENCE};

/// Stores so many Dags, whose last interval is due, and runs each once. Returns the seconds from the first Dag to the end
/// of the last run.
pub(crate) async fn measure(deployment: &Deployment, dags: usize) -> anyhow::Result<f64> {
    let start = chrono::Utc::now() - chrono::TimeDelta::days(3);
    let fields = json!({
        "timetable": {
            "__type": "airflow.timetables.interval.CronDataIntervalTimetable",
            "__var": {"expression": "0 0 * * *", "timezone": "UTC"},
        },
        "start_date": start.timestamp(), "catchup": false,
    });
    let tasks = [("first".to_owned(), vec!["second".to_owned()]), ("second".to_owned(), Vec::new())];
    let documents: Vec<Value> =
        (0..dags).map(|number| dag(&format!("daily_{number}"), &tasks, &json!({}), &fields)).collect();
    let began = Instant::now();
    deployment.add_dags(documents).await?;
    let deadline = Instant::now() + PATIENCE;
    let wanted = dags * tasks.len();
    let mut done = 0;
    while done < wanted {
        anyhow::ensure!(Instant::now() < deadline, "only {done} of {wanted} tasks ran in time");
        let claims = deployment.claim(256).await?;
        if claims.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for claim in claims {
            deployment.succeed(claim.id).await?;
            done += 1;
        }
    }
    deployment
        .until(
            "the runs end",
            "SELECT count(*) FROM dag_run WHERE state = 'running' AND run_type = 'scheduled'",
            |left| left == 0,
        )
        .await?;
    Ok(began.elapsed().as_secs_f64())
}
