//! Conditions of a `WHERE` clause with their bound values.

use super::params::Params;
use super::pattern;
use crate::auth::{Dags, TeamRights};
use chrono::{DateTime, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

/// A value bound in a condition.
#[derive(Debug, Clone)]
enum Bind {
    Text(String),
    Texts(Vec<String>),
    Int(i64),
    Ints(Vec<i64>),
    Float(f64),
    Bool(bool),
    Time(DateTime<Utc>),
    Uuid(Uuid),
}

#[derive(Debug, Clone)]
enum Piece {
    Sql(String),
    Bind(Bind),
}

/// One condition: SQL text of this program and bound values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clause(Vec<Piece>);

impl Clause {
    /// A condition that starts with that SQL.
    pub(crate) fn sql(sql: impl Into<String>) -> Self {
        Self::default().then(sql)
    }

    /// Appends SQL.
    #[must_use]
    pub(crate) fn then(mut self, sql: impl Into<String>) -> Self {
        self.0.push(Piece::Sql(sql.into()));
        self
    }

    /// Appends a condition.
    #[must_use]
    pub(crate) fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Appends a bound text.
    #[must_use]
    pub(crate) fn bind_text(self, value: impl Into<String>) -> Self {
        self.bind(Bind::Text(value.into()))
    }

    /// Appends a bound list of texts.
    #[must_use]
    pub(crate) fn bind_texts(self, values: Vec<String>) -> Self {
        self.bind(Bind::Texts(values))
    }

    /// Appends a bound whole number.
    #[must_use]
    pub(crate) fn bind_int(self, value: i64) -> Self {
        self.bind(Bind::Int(value))
    }

    /// Appends a bound point in time.
    #[must_use]
    pub(crate) fn bind_time(self, value: DateTime<Utc>) -> Self {
        self.bind(Bind::Time(value))
    }

    /// Appends a bound identifier.
    #[must_use]
    pub(crate) fn bind_uuid(self, value: Uuid) -> Self {
        self.bind(Bind::Uuid(value))
    }

    fn bind(mut self, bind: Bind) -> Self {
        self.0.push(Piece::Bind(bind));
        self
    }

    /// The disjunction of conditions; false when there are none.
    pub(crate) fn any(clauses: impl IntoIterator<Item = Self>) -> Self {
        let mut whole = Self::sql("(FALSE");
        for clause in clauses {
            whole = whole.then(" OR (").join(clause).then(")");
        }
        whole.then(")")
    }

    /// Writes the condition into a statement.
    pub(crate) fn push_to(&self, query: &mut QueryBuilder<Postgres>) {
        for piece in &self.0 {
            match piece.clone() {
                Piece::Sql(sql) => query.push(sql),
                Piece::Bind(Bind::Text(value)) => query.push_bind(value),
                Piece::Bind(Bind::Texts(value)) => query.push_bind(value),
                Piece::Bind(Bind::Int(value)) => query.push_bind(value),
                Piece::Bind(Bind::Ints(value)) => query.push_bind(value),
                Piece::Bind(Bind::Float(value)) => query.push_bind(value),
                Piece::Bind(Bind::Bool(value)) => query.push_bind(value),
                Piece::Bind(Bind::Time(value)) => query.push_bind(value),
                Piece::Bind(Bind::Uuid(value)) => query.push_bind(value),
            };
        }
    }
}

/// The conjunction of conditions that a list is filtered by.
///
/// The methods that take [`Params`] read the parameters of one filter and add nothing when they are absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter(Vec<Clause>);

impl Filter {
    /// No condition.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    pub(crate) fn push(&mut self, clause: Clause) {
        self.0.push(clause);
    }

    /// The column has that text.
    pub(crate) fn equal_text(&mut self, column: &'static str, value: &str) {
        self.push(Clause::sql(column).then(" = ").bind_text(value));
    }

    /// The path parameter unless it is the wildcard `~`.
    pub(crate) fn path(&mut self, column: &'static str, value: &str) {
        if value != "~" {
            self.equal_text(column, value);
        }
    }

    /// The column names one of these Dags.
    pub(crate) fn of_dags(&mut self, dags: &Dags, column: &'static str) {
        self.0.extend(dags.condition(column));
    }

    /// The column names one of these Dags, or none at all.
    pub(crate) fn of_dags_or_none(&mut self, dags: &Dags, column: &'static str) {
        let condition = dags.condition(column);
        self.0.extend(condition.map(|condition| Clause::sql(format!("{column} IS NULL OR ")).join(condition)));
    }

    /// The column names a team whose things somebody may have to do with, or none at all.
    pub(crate) fn of_teams(&mut self, teams: &TeamRights, column: &'static str) {
        if let TeamRights::Of(teams) = teams {
            let teams = teams.iter().cloned().collect();
            self.push(Clause::sql(format!("{column} IS NULL OR {column} = ANY(")).bind_texts(teams).then(")"));
        }
    }

    /// `<name>_pattern` and `<name>_prefix_pattern`.
    pub(crate) fn pattern(&mut self, params: &Params, name: &str, column: &'static str) {
        self.search(params, &format!("{name}_pattern"), &format!("{name}_prefix_pattern"), column, true);
    }

    /// As [`Filter::pattern`] under other names; `pipe_as_or`: whether `|` separates alternatives.
    pub(crate) fn search(&mut self, params: &Params, name: &str, prefix: &str, column: &'static str, pipe_as_or: bool) {
        if let Some(value) = params.text(name) {
            self.push(pattern::substring(column, &value, pipe_as_or));
        }
        if let Some(value) = params.text(prefix) {
            self.push(pattern::prefix(column, &value, pipe_as_or));
        }
    }

    /// A text that the column must equal; an empty one filters nothing.
    pub(crate) fn text(&mut self, params: &Params, name: &str, column: &'static str) {
        if let Some(value) = params.text(name).filter(|value| !value.is_empty()) {
            self.equal_text(column, &value);
        }
    }

    /// Texts of which the column must be one.
    pub(crate) fn texts(&mut self, params: &Params, name: &str, column: &'static str) {
        self.one_of(params.texts(name), column);
    }

    /// The column is one of the texts; an empty list filters nothing.
    pub(crate) fn one_of(&mut self, values: Vec<String>, column: &'static str) {
        if !values.is_empty() {
            self.push(Clause::sql(column).then(" = ANY(").bind_texts(values).then(")"));
        }
    }

    /// Texts of which the column must be none.
    pub(crate) fn none_of(&mut self, params: &Params, name: &str, column: &'static str) {
        let values = params.texts(name);
        if !values.is_empty() {
            self.push(Clause::sql(column).then(" <> ALL(").bind_texts(values).then(")"));
        }
    }

    /// A whole number that the column must equal.
    pub(crate) fn int(&mut self, params: &mut Params, name: &str, column: &'static str) {
        if let Some(value) = params.int(name) {
            self.push(Clause::sql(column).then(" = ").bind_int(value));
        }
    }

    /// Whole numbers of which the column must be one.
    pub(crate) fn ints(&mut self, params: &mut Params, name: &str, column: &'static str) {
        let values = params.ints(name);
        if !values.is_empty() {
            self.push(Clause::sql(column).then(" = ANY(").bind(Bind::Ints(values)).then(")"));
        }
    }

    /// A truth value that the column must equal.
    pub(crate) fn bool(&mut self, params: &mut Params, name: &str, column: &'static str) {
        if let Some(value) = params.bool(name) {
            self.push(Clause::sql(column).then(" = ").bind(Bind::Bool(value)));
        }
    }

    /// States of which the column must be one; `None` stands for NULL.
    pub(crate) fn states(&mut self, states: Vec<Option<String>>, column: &'static str) {
        if states.is_empty() {
            return;
        }
        let null = states.iter().any(Option::is_none);
        let named = Clause::sql(column).then(" = ANY(").bind_texts(states.into_iter().flatten().collect()).then(")");
        let nothing = null.then(|| Clause::sql(column).then(" IS NULL"));
        self.push(Clause::any([Some(named), nothing].into_iter().flatten()));
    }

    /// `<name>_gte`, `_gt`, `_lte`, `_lt` of a point in time.
    ///
    /// `start_date` and `end_date` may be NULL, which stands for a time that will still come.
    pub(crate) fn time_range(&mut self, params: &mut Params, name: &str, column: &'static str) {
        let open = matches!(name, "start_date" | "end_date" | "dag_run_start_date" | "dag_run_end_date");
        for (suffix, operator) in RANGE {
            let Some(time) = params.time(&format!("{name}_{suffix}")) else { continue };
            self.time_bound(column, operator, time, open && !name.starts_with("dag_run_"));
        }
    }

    /// One bound of a time range; `open`: NULL stands for a time that will still come.
    pub(crate) fn time_bound(&mut self, column: &'static str, operator: &'static str, time: DateTime<Utc>, open: bool) {
        let bound = Clause::sql(column).then(format!(" {operator} ")).bind_time(time);
        self.push(match (open, operator.starts_with('>')) {
            (false, _) => bound,
            (true, true) => Clause::any([bound, Clause::sql(column).then(" IS NULL")]),
            (true, false) => {
                let open = Clause::sql(column).then(format!(" IS NULL AND now() {operator} ")).bind_time(time);
                Clause::any([bound, open])
            }
        });
    }

    /// `<name>_gte`, `_gt`, `_lte`, `_lt` of a number; zero bounds nothing, as in Airflow.
    pub(crate) fn float_range(&mut self, params: &mut Params, name: &str, column: &'static str) {
        for (suffix, operator) in RANGE {
            if let Some(value) = params.float(&format!("{name}_{suffix}")).filter(|value| *value != 0.0) {
                self.float_bound(column, operator, value);
            }
        }
    }

    /// One bound of a number range.
    pub(crate) fn float_bound(&mut self, column: &'static str, operator: &'static str, value: f64) {
        self.push(Clause::sql(column).then(format!(" {operator} ")).bind(Bind::Float(value)));
    }

    /// Writes ` WHERE …`, or nothing when there is no condition.
    pub(crate) fn push_to(&self, query: &mut QueryBuilder<Postgres>) {
        for (index, clause) in self.0.iter().enumerate() {
            query.push(if index == 0 { " WHERE (" } else { " AND (" });
            clause.push_to(query);
            query.push(")");
        }
    }
}

/// Suffixes of range parameters and their operators.
pub(crate) const RANGE: [(&str, &str); 4] = [("gte", ">="), ("gt", ">"), ("lte", "<="), ("lt", "<")];
