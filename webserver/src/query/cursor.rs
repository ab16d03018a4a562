//! Keyset pagination (`airflow/api_fastapi/common/cursors.py`): a token holds the sort values of the row at the border.

use super::filter::Clause;
use super::order::{Order, SortColumn};
use crate::error::{ApiError, ApiResult};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Marks a token that leads to the previous page.
const BACKWARD: char = '~';

/// Where a page starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cursor {
    /// At the first row.
    Start,
    /// After the row with these sort values, or before it when `backward`.
    At { values: Vec<Option<String>>, backward: bool },
}

impl Cursor {
    pub(super) fn parse(text: &str) -> ApiResult<Self> {
        if text.is_empty() {
            return Ok(Self::Start);
        }
        let (token, backward) = match text.strip_prefix(BACKWARD) {
            Some(token) => (token, true),
            None => (text, false),
        };
        let invalid = || ApiError::bad_request("Invalid cursor token");
        let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|_| invalid())?;
        let values = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        Ok(Self::At { values, backward })
    }

    pub(super) fn is_backward(&self) -> bool {
        matches!(self, Self::At { backward: true, .. })
    }

    pub(super) fn token(values: &[Option<String>], backward: bool) -> String {
        let token = URL_SAFE_NO_PAD.encode(serde_json::json!(values).to_string());
        if backward { format!("{BACKWARD}{token}") } else { token }
    }

    /// The condition of the rows after the cursor, in `order` (already turned round for a backward cursor).
    pub(super) fn condition(&self, order: &Order) -> ApiResult<Option<Clause>> {
        let Self::At { values, .. } = self else { return Ok(None) };
        let columns = order.columns();
        if values.len() != columns.len() {
            return Err(ApiError::bad_request("Cursor token does not match current query shape"));
        }
        let mut inner: Option<Clause> = None;
        for (column, value) in columns.iter().zip(values).rev() {
            let strict = bound(column, value.as_deref(), true);
            inner = Some(match inner {
                None => strict,
                Some(inner) => {
                    let inclusive = bound(column, value.as_deref(), false);
                    Clause::sql("(").join(inclusive).then(") AND ").join(Clause::any([strict, inner]))
                }
            });
        }
        Ok(inner)
    }
}

/// Rows at or after a value of one column; Postgres puts NULL last when ascending and first when descending.
fn bound(column: &SortColumn, value: Option<&str>, strict: bool) -> Clause {
    let nulls_last = !column.descending;
    let Some(value) = value else {
        return match (nulls_last, strict) {
            (true, false) => Clause::sql(column.sql).then(" IS NULL"),
            (true, true) => Clause::sql("FALSE"),
            (false, false) => Clause::sql("TRUE"),
            (false, true) => Clause::sql(column.sql).then(" IS NOT NULL"),
        };
    };
    let operator = match (column.descending, strict) {
        (false, false) => ">=",
        (false, true) => ">",
        (true, false) => "<=",
        (true, true) => "<",
    };
    let after =
        Clause::sql(column.sql).then(format!(" {operator} (")).bind_text(value).then(format!(")::{}", column.kind));
    if nulls_last { Clause::any([after, Clause::sql(column.sql).then(" IS NULL")]) } else { after }
}
