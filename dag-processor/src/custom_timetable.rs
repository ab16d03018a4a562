//! Asks timetables of plugins what is stored of them, before the rows of their Dags are locked.

use std::collections::HashMap;

use serde_json::Value;
use tradewind_airflow::evaluation;
use tradewind_metadata::Database;
use tradewind_metadata::parse_result::{self, CustomNextRun, ParsedDag, Schedule};
use tradewind_model::partition::PartitionMappers;
use tradewind_model::timetable::custom::CustomAttributes;
use tradewind_model::timetable::{AutomatedRun, DagRunInfo};
use tradewind_supervisor::evaluator::{EvaluationError, Evaluator};

/// Asks the timetables of those Dags that have one of a plugin. A plugin that fails costs its own Dag the next run.
///
/// # Errors
/// When the database cannot be reached.
pub(crate) async fn ask(
    database: &Database,
    evaluator: &Evaluator,
    dags: &mut [ParsedDag],
) -> tradewind_metadata::Result<()> {
    ask_mappers(evaluator, dags).await;
    let custom: Vec<&Schedule> = dags.iter().map(|dag| &dag.schedule).filter(|dag| is_custom(dag)).collect();
    if custom.is_empty() {
        return Ok(());
    }
    let latest = parse_result::latest_automated_runs(database.pool(), &custom).await?;
    for dag in dags.iter_mut().filter(|dag| is_custom(&dag.schedule)) {
        if let Err(error) = ask_one(evaluator, dag, &latest).await {
            let dag_id = dag.dag_id();
            let traceback = if let EvaluationError::Raised(raised) = &error { &raised.traceback } else { "" };
            tracing::error!(dag_id, %error, traceback, "the timetable gives no answer; the Dag has no next run");
            dag.schedule.custom_next_run = Some(CustomNextRun { after: latest.get(dag.dag_id()).cloned(), next: None });
        }
    }
    Ok(())
}

/// Asks what is shown of partition mappers, where one of them is a plugin's own. Without an answer it is taken for one that
/// gathers nothing.
async fn ask_mappers(evaluator: &Evaluator, dags: &mut [ParsedDag]) {
    for dag in dags.iter_mut().filter(|dag| !dag.partition_mapper_info.is_empty()) {
        let timetable = dag.data.pointer("/dag/timetable").unwrap_or(&Value::Null);
        let mappers = PartitionMappers::from_serialized(timetable.get("__var").unwrap_or(timetable));
        if !mappers.is_ok_and(|mappers| mappers.has_foreign()) {
            continue;
        }
        let restriction = dag.schedule.restriction.into();
        let question = evaluation::Schedule { timetable: timetable.clone(), last: None, restriction };
        match evaluator.ask(dag.dag_id(), question).await {
            Ok(answer) => dag.partition_mapper_info = answer.partition_mapper_info,
            Err(error) => {
                let dag_id = dag.dag_id();
                tracing::error!(dag_id, %error, "nothing is known of the partition mapper of a plugin");
            }
        }
    }
}

/// Whether only Python knows when the Dag runs.
pub(crate) fn is_custom(dag: &Schedule) -> bool {
    dag.timetable.custom().is_some()
}

async fn ask_one(
    evaluator: &Evaluator,
    dag: &mut ParsedDag,
    latest: &HashMap<String, AutomatedRun>,
) -> Result<(), EvaluationError> {
    let Some(custom) = dag.schedule.timetable.custom() else { return Ok(()) };
    let after = latest.get(dag.dag_id()).cloned();
    let question = evaluation::Schedule {
        timetable: custom.serialized(),
        last: after.as_ref().map(evaluation::Run::from),
        restriction: dag.schedule.restriction.into(),
    };
    let answer = evaluator.ask(dag.dag_id(), question).await?;
    if let Some(error) = &answer.next.error {
        let dag_id = dag.dag_id();
        tracing::error!(dag_id, %error, traceback = error.traceback, "the timetable gives no next run");
    }
    dag.schedule.custom_next_run = Some(CustomNextRun { after, next: answer.next.run.map(DagRunInfo::from) });
    let is_whole = matches!(dag.schedule.timetable, tradewind_model::timetable::Timetable::Custom(_));
    if is_whole {
        dag.partition_mapper_info = answer.partition_mapper_info;
    }
    if let Some(custom) = dag.schedule.timetable.custom_mut() {
        custom.attributes = CustomAttributes {
            summary: answer.summary,
            description: answer.description,
            periodic: answer.periodic,
            can_be_scheduled: answer.can_be_scheduled,
            partitioned: answer.partitioned,
        };
    }
    Ok(())
}
