//! A row for each reason, as Airflow's command line shows tables.

use std::fmt::Write;

use tradewind_model::explanation::{DagExplanation, Explanation, Reason, TaskInstanceExplanation};

use super::plain::{Name, state_name};

type Row = [String; 5];

/// A run, and what of it has not ended.
pub(super) fn of_run(told: &Explanation) -> String {
    let run = format!("{} (run)", told.run_id);
    let mut rows = rows(&run, told.state.as_str(), &told.reasons);
    rows.extend(self::rows(&run, told.state.as_str(), &told.remarks));
    for group in &told.task_instances {
        rows.extend(self::rows(&Name(group).to_string(), state_name(group.state), &group.reasons));
    }
    drawn(rows)
}

/// A Dag.
pub(super) fn of_dag(told: &DagExplanation) -> String {
    drawn(rows(&told.dag_id, "", &told.reasons))
}

/// One task instance.
pub(super) fn of_task_instance(told: &TaskInstanceExplanation) -> String {
    let name = if told.map_index < 0 { told.task_id.clone() } else { format!("{}[{}]", told.task_id, told.map_index) };
    let mut rows = rows(&format!("{} (run)", told.run_id), told.run_state.as_str(), &told.run_reasons);
    rows.extend(self::rows(&name, state_name(told.state), &told.reasons));
    drawn(rows)
}

fn rows(name: &str, state: &str, reasons: &[Reason]) -> Vec<Row> {
    let until = |reason: &Reason| reason.until().map(|until| until.to_rfc3339()).unwrap_or_default();
    let row = |reason: &Reason| {
        [name.to_owned(), state.to_owned(), reason.code().to_owned(), until(reason), reason.to_string()]
    };
    reasons.iter().map(row).collect()
}

fn drawn(rows: Vec<Row>) -> String {
    let head = ["task_instance", "state", "reason", "until", "message"].map(str::to_owned);
    let mut widths = head.clone().map(|text| text.chars().count());
    for row in &rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }
    let line = |row: &Row| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(text, width)| format!("{text:width$}")).collect();
        cells.join(" | ").trim_end().to_owned()
    };
    let mut table = line(&head);
    let rule: Vec<String> = widths.iter().map(|width| "=".repeat(*width)).collect();
    // Writing to a string cannot fail.
    let _ = write!(table, "\n{}", rule.join("=+="));
    for row in &rows {
        let _ = write!(table, "\n{}", line(row));
    }
    table
}
