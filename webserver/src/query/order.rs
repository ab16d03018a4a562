//! `order_by` with several criteria.

use super::params::Params;
use crate::error::ApiError;
use sqlx::{Postgres, QueryBuilder};

/// More criteria are refused.
const MAX_CRITERIA: usize = 10;

/// A name that `order_by` accepts, and the columns it stands for with their Postgres types.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SortKey {
    name: Option<&'static str>,
    columns: &'static [(&'static str, &'static str)],
}

/// A sort key of the given columns and Postgres types; the first key of a list is the primary key.
pub(crate) const fn key(name: &'static str, columns: &'static [(&'static str, &'static str)]) -> SortKey {
    SortKey { name: Some(name), columns }
}

/// A primary key that nobody can ask for by name: it only tells rows apart that are alike in all else.
pub(crate) const fn tie_break(columns: &'static [(&'static str, &'static str)]) -> SortKey {
    SortKey { name: None, columns }
}

/// A column to sort by.
#[derive(Debug, Clone, Copy)]
pub(super) struct SortColumn {
    pub(super) sql: &'static str,
    pub(super) kind: &'static str,
    pub(super) descending: bool,
}

/// The order of a list: always total, since the primary key comes last.
#[derive(Debug, Clone)]
pub(crate) struct Order(Vec<SortColumn>);

impl Order {
    /// Reads `order_by`; without one, `default` holds (names, `-` for descending).
    pub(crate) fn from_params(params: &mut Params, keys: &[SortKey], default: &[&str]) -> Self {
        let mut names = params.texts("order_by");
        if names.is_empty() {
            names = default.iter().map(|name| (*name).to_owned()).collect();
        }
        Self::from_names(params, keys, &names)
    }

    /// As [`Order::from_params`] with the names given; a wrong name refuses the request.
    pub(crate) fn from_names(params: &mut Params, keys: &[SortKey], names: &[String]) -> Self {
        if names.len() > MAX_CRITERIA {
            let shown = crate::python::repr_list(names);
            params.refuse(ApiError::bad_request(format!(
                "Ordering with more than {MAX_CRITERIA} parameters is not allowed. Provided: {shown}"
            )));
        }
        let mut columns: Vec<SortColumn> = Vec::new();
        for name in names {
            let bare = name.trim_start_matches('-');
            let descending = name.starts_with('-');
            let Some(key) = keys.iter().find(|key| key.name == Some(bare)) else {
                params.refuse(ApiError::bad_request(format!(
                    "Ordering with '{bare}' is disallowed or the attribute does not exist on the model"
                )));
                continue;
            };
            columns.extend(key.columns.iter().map(|&(sql, kind)| SortColumn { sql, kind, descending }));
        }
        if let Some(&(sql, kind)) = keys.first().and_then(|key| key.columns.first())
            && !columns.iter().any(|column| column.sql == sql)
        {
            let descending = names.first().is_some_and(|name| name.starts_with('-'));
            columns.push(SortColumn { sql, kind, descending });
        }
        Self(columns)
    }

    /// The order turned round.
    #[must_use]
    pub(crate) fn reversed(&self) -> Self {
        let turned = |column: &SortColumn| SortColumn { descending: !column.descending, ..*column };
        Self(self.0.iter().map(turned).collect())
    }

    pub(super) fn columns(&self) -> &[SortColumn] {
        &self.0
    }

    /// Writes ` ORDER BY …`.
    pub(crate) fn push_to(&self, query: &mut QueryBuilder<Postgres>) {
        for (index, column) in self.0.iter().enumerate() {
            query.push(if index == 0 { " ORDER BY " } else { ", " });
            query.push(column.sql);
            query.push(if column.descending { " DESC" } else { " ASC" });
        }
    }
}
