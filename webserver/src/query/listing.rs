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

/// How the rows of a list are found: a table with its key, and the joins that a condition or the order may speak of, each
/// by the alias that it brings in. A join may name the aliases of earlier ones, and must leave the number of rows as it is.
#[derive(Debug)]
pub(crate) struct Tables {
    /// The table and its alias.
    pub table: &'static str,
    /// Its primary key.
    pub key: &'static str,
    /// Aliases and joins.
    pub joins: &'static [(&'static str, &'static str)],
}

impl Listing<'_> {
    /// As [`page`](Self::page), for lists whose rows are put together from many tables: the page is found with as few of
    /// them as conditions and order speak of, and only its rows are put together.
    pub(crate) async fn page_of<T>(&self, tables: &Tables, pool: &PgPool, page: Page) -> ApiResult<(Vec<T>, i64)>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let source = self.source_of(tables);
        let found =
            Listing { columns: tables.key, source: &source, filter: self.filter.clone(), order: self.order.clone() };
        let total = found.count(pool).await?;
        let mut query = QueryBuilder::new(format!(
            "SELECT {} FROM {} WHERE {} = ANY(ARRAY(",
            self.columns, self.source, tables.key
        ));
        found.push_page(&mut query, page);
        query.push("))");
        self.order.push_to(&mut query);
        Ok((query.build_query_as().fetch_all(pool).await?, total))
    }

    /// The table with the joins that conditions and order need.
    fn source_of(&self, tables: &Tables) -> String {
        let mut spoken: QueryBuilder<Postgres> = QueryBuilder::new("");
        self.filter.push_to(&mut spoken);
        self.order.push_to(&mut spoken);
        let spoken = spoken.into_sql();
        let mut source = tables.table.to_owned();
        for (alias, join) in tables.joins {
            if names(spoken.as_str(), alias) {
                source.push(' ');
                source.push_str(join);
            }
        }
        source
    }

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
        let mut query = QueryBuilder::new("");
        self.push_page(&mut query, page);
        Ok(query.build_query_as().fetch_all(pool).await?)
    }

    fn push_page(&self, query: &mut QueryBuilder<Postgres>, page: Page) {
        query.push(format!("SELECT {} FROM {}", self.columns, self.source));
        self.filter.push_to(query);
        self.order.push_to(query);
        query.push(" LIMIT ").push_bind(page.limit).push(" OFFSET ").push_bind(page.offset);
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

/// Whether a statement names a column of the alias.
fn names(sql: &str, alias: &str) -> bool {
    sql.match_indices(alias).any(|(at, _)| {
        let before = sql[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_')
            && sql[at + alias.len()..].starts_with('.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_named_only_as_a_whole() {
        assert!(names("WHERE (dr.run_after > $1)", "dr"));
        assert!(names("dr.id", "dr"));
        assert!(!names("WHERE (adr.run_after > $1)", "dr"));
        assert!(!names("WHERE (ti.dr > $1) AND drx.id = 1", "dr"));
    }
}
