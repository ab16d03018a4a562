//! On which Dags somebody has rights, and what that makes of statements and answers.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::postgres::PgArguments;
use sqlx::query::{Query, QueryAs, QueryScalar};
use sqlx::{AssertSqlSafe, Postgres, SqlSafeStr as _, SqlStr};

use super::manager::{Action, DagRights, Identity};
use crate::error::ApiResult;
use crate::query::Clause;
use crate::state::App;

/// Before and after the column within the mark of a statement that [`Dags::narrow`] replaces.
const MARK: (&str, &str) = ("/* of: ", " */");

/// Some of the Dags: those that somebody may read, or change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Dags {
    /// All of them.
    All,
    /// These.
    Only(Arc<BTreeSet<String>>),
    /// All but these.
    AllBut(Arc<BTreeSet<String>>),
}

/// The Dags that somebody may read, and those that they may change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rights {
    readable: Dags,
    editable: Dags,
}

impl Rights {
    /// What the auth manager says. The database is asked only where it decides by teams.
    pub(super) async fn of(app: &App, identity: &Identity) -> ApiResult<Self> {
        let [read, write] = [Action::Read, Action::Write].map(|action| app.auth_manager.dag_rights(identity, action));
        let readable = Dags::of(app, &read).await?;
        let editable = if read == write { readable.clone() } else { Dags::of(app, &write).await? };
        Ok(Self { readable, editable })
    }

    /// The Dags that this may be done to.
    pub(super) fn to(&self, action: Action) -> &Dags {
        match action {
            Action::Read => &self.readable,
            Action::Write => &self.editable,
        }
    }
}

impl Dags {
    async fn of(app: &App, rights: &DagRights) -> ApiResult<Self> {
        Ok(match rights {
            DagRights::All => Self::All,
            DagRights::Of(ids) => Self::Only(Arc::clone(ids)),
            DagRights::OfTeams(teams) => {
                let teams: Vec<&str> = teams.iter().map(String::as_str).collect();
                let others: Vec<String> =
                    sqlx::query_scalar(include_str!("of_other_teams.sql")).bind(teams).fetch_all(&app.pool).await?;
                if others.is_empty() { Self::All } else { Self::AllBut(Arc::new(others.into_iter().collect())) }
            }
        })
    }

    /// Whether a Dag is among them.
    pub(crate) fn contains(&self, dag_id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(dag_id),
            Self::AllBut(ids) => !ids.contains(dag_id),
        }
    }

    /// Whether all are.
    pub(crate) fn contain_all<'a>(&self, dag_ids: impl IntoIterator<Item = &'a String>) -> bool {
        *self == Self::All || dag_ids.into_iter().all(|dag_id| self.contains(dag_id))
    }

    /// Whether there is anything that they leave out.
    pub(crate) fn are_all(&self) -> bool {
        *self == Self::All
    }

    /// That a column names one of them; none where all are.
    pub(crate) fn condition(&self, column: &str) -> Option<Clause> {
        let (before, after) = self.comparison()?;
        Some(Clause::sql(format!("{column}{before}")).bind_texts(self.ids()?.iter().cloned().collect()).then(after))
    }

    /// A statement narrowed to them where it says so, in a comment `of: column` that stands for a condition. Their ids are
    /// its last parameter, whose number is given. Where all are meant it is as it was.
    pub(crate) fn narrow(&self, statement: impl Into<Cow<'static, str>>, parameter: usize) -> SqlStr {
        let statement = statement.into();
        let Some((before, after)) = self.comparison() else { return AssertSqlSafe(statement).into_sql_str() };
        let mut narrowed = String::with_capacity(statement.len() + 64);
        let mut rest = &*statement;
        while let Some((text, (column, further))) =
            rest.split_once(MARK.0).and_then(|(text, rest)| Some((text, rest.split_once(MARK.1)?)))
        {
            narrowed.push_str(&format!("{text}AND {column}{before}${parameter}{after}"));
            rest = further;
        }
        AssertSqlSafe(narrowed + rest).into_sql_str()
    }

    fn comparison(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::All => None,
            Self::Only(_) => Some((" = ANY(", ")")),
            Self::AllBut(_) => Some((" <> ALL(", ")")),
        }
    }

    /// What to bind to a narrowed statement.
    fn ids(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::All => None,
            Self::Only(ids) | Self::AllBut(ids) => Some(ids),
        }
    }
}

/// A query of a statement that [`Dags::narrow`] has narrowed.
pub(crate) trait BindDags<'q>: Sized {
    /// Binds the last parameter, if there is one.
    #[must_use]
    fn bind_dags(self, dags: &'q Dags) -> Self;
}

macro_rules! bind_dags {
    ($($query:ty $(, $row:ident)?;)+) => {$(
        impl<'q $(, $row)?> BindDags<'q> for $query {
            fn bind_dags(self, dags: &'q Dags) -> Self {
                match dags.ids() {
                    Some(ids) => self.bind(ids.iter().map(String::as_str).collect::<Vec<_>>()),
                    None => self,
                }
            }
        }
    )+};
}

bind_dags! {
    Query<'q, Postgres, PgArguments>;
    QueryAs<'q, Postgres, T, PgArguments>, T;
    QueryScalar<'q, Postgres, T, PgArguments>, T;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Arc<BTreeSet<String>> {
        Arc::new(ids.iter().map(|id| (*id).to_owned()).collect())
    }

    #[test]
    fn statements_are_narrowed_where_they_say_so() {
        const STATEMENT: &str = "SELECT 1 FROM dag d WHERE a /* of: d.dag_id */ AND EXISTS (b /* of: x.dag_id */)";
        assert_eq!(Dags::All.narrow(STATEMENT, 3).as_str(), STATEMENT);
        assert_eq!(
            Dags::Only(ids(&["a"])).narrow(STATEMENT, 3).as_str(),
            "SELECT 1 FROM dag d WHERE a AND d.dag_id = ANY($3) AND EXISTS (b AND x.dag_id = ANY($3))"
        );
        assert_eq!(
            Dags::AllBut(ids(&["a"])).narrow("SELECT 1 WHERE TRUE /* of: dag_id */", 1).as_str(),
            "SELECT 1 WHERE TRUE AND dag_id <> ALL($1)"
        );
    }

    #[test]
    fn a_dag_is_among_them_or_not() {
        let (only, but) = (Dags::Only(ids(&["a", "c"])), Dags::AllBut(ids(&["a", "c"])));
        for (dag_id, is_in) in [("a", true), ("b", false), ("c", true), ("", false)] {
            assert_eq!((only.contains(dag_id), but.contains(dag_id)), (is_in, !is_in), "{dag_id}");
            assert!(Dags::All.contains(dag_id));
        }
        assert!(!Dags::Only(ids(&[])).contains("a"));
        assert!(only.contain_all(&["a".to_owned()]) && !only.contain_all(&["a".to_owned(), "b".to_owned()]));
    }
}
