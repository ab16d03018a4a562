//! Lists: one statement for a page, one for the count.

use super::cursor::Cursor;
use super::filter::Filter;
use super::order::Order;
use super::params::Page;
use crate::error::ApiResult;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder, Row as _};

/// Cursor lists count no further, so that the count stays cheap on large tables.
const EXACT_COUNT_LIMIT: i64 = 50_000;

/// A list of rows: what to select, from where, which, in what order.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    /// The selected columns.
    pub columns: &'a str,
    /// The tables, joined.
    pub source: &'a str,
    /// Which rows.
    pub filter: Filter,
    /// In what order.
    pub order: Order,
}

/// A page of a list that is walked by cursors.
#[derive(Debug)]
pub(crate) struct CursorPage<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Matching rows, at most `total_entries_limit`.
    pub total_entries: i64,
    /// Where counting stops.
    pub total_entries_limit: i64,
    /// The token of the next page.
    pub next_cursor: Option<String>,
    /// The token of the previous page.
    pub previous_cursor: Option<String>,
}

impl Listing<'_> {
    /// The rows of a page and the number of all rows.
    pub(crate) async fn page<T>(&self, pool: &PgPool, page: Page) -> ApiResult<(Vec<T>, i64)>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let total = self.count(pool).await?;
        Ok((self.rows(pool, page).await?, total))
    }

    /// The rows of a page.
    pub(crate) async fn rows<T>(&self, pool: &PgPool, page: Page) -> ApiResult<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let mut query = QueryBuilder::new(format!("SELECT {} FROM {}", self.columns, self.source));
        self.filter.push_to(&mut query);
        self.order.push_to(&mut query);
        query.push(" LIMIT ").push_bind(page.limit).push(" OFFSET ").push_bind(page.offset);
        Ok(query.build_query_as().fetch_all(pool).await?)
    }

    /// The number of all rows.
    pub(crate) async fn count(&self, pool: &PgPool) -> ApiResult<i64> {
        let mut query = QueryBuilder::new(format!("SELECT count(*) FROM {}", self.source));
        self.filter.push_to(&mut query);
        Ok(query.build_query_scalar().fetch_one(pool).await?)
    }

    /// The page at a cursor; the empty cursor is the first page.
    pub(crate) async fn at_cursor<T>(&self, pool: &PgPool, cursor: &str, limit: i64) -> ApiResult<CursorPage<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let cursor = Cursor::parse(cursor)?;
        let order = if cursor.is_backward() { self.order.reversed() } else { self.order.clone() };
        let mut filter = self.filter.clone();
        if let Some(condition) = cursor.condition(&order)? {
            filter.push(condition);
        }
        let keys: Vec<String> = order.columns().iter().map(|column| format!("({})::text", column.sql)).collect();
        let mut query = QueryBuilder::new(format!(
            "SELECT {}, ARRAY[{}] AS cursor_key FROM {}",
            self.columns,
            keys.join(", "),
            self.source
        ));
        filter.push_to(&mut query);
        order.push_to(&mut query);
        query.push(" LIMIT ").push_bind(limit + 1);
        let mut fetched: Vec<PgRow> = query.build().fetch_all(pool).await?;

        let page_size = usize::try_from(limit).unwrap_or(0);
        let has_more = fetched.len() > page_size;
        fetched.truncate(page_size);
        if cursor.is_backward() {
            fetched.reverse();
        }
        let (has_previous, has_next) = match &cursor {
            Cursor::Start => (false, has_more),
            Cursor::At { backward: true, .. } => (has_more, true),
            Cursor::At { .. } => (true, has_more),
        };
        let token = |row: Option<&PgRow>, wanted: bool, backward: bool| -> ApiResult<Option<String>> {
            let Some(row) = row.filter(|_| wanted) else { return Ok(None) };
            let values: Vec<Option<String>> = row.try_get("cursor_key")?;
            Ok(Some(Cursor::token(&values, backward)))
        };
        Ok(CursorPage {
            next_cursor: token(fetched.last(), has_next, false)?,
            previous_cursor: token(fetched.first(), has_previous, true)?,
            rows: fetched.iter().map(T::from_row).collect::<Result<_, _>>()?,
            total_entries: self.bounded_count(pool).await?,
            total_entries_limit: EXACT_COUNT_LIMIT,
        })
    }

    async fn bounded_count(&self, pool: &PgPool) -> ApiResult<i64> {
        let mut query: QueryBuilder<Postgres> =
            QueryBuilder::new(format!("SELECT count(*) FROM (SELECT 1 FROM {}", self.source));
        self.filter.push_to(&mut query);
        query.push(" LIMIT ").push_bind(EXACT_COUNT_LIMIT).push(") AS counted");
        Ok(query.build_query_scalar().fetch_one(pool).await?)
    }
}
