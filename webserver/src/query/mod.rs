//! Query strings to SQL: typed parameters, filters, ordering, pages, cursors.
//!
//! The rules are those of `airflow/api_fastapi/common/parameters.py`; column names come from this program, values are
//! always bound.

mod cursor;
mod filter;
mod listing;
mod order;
mod params;
mod pattern;

pub(crate) use filter::RANGE;
pub(crate) use filter::{Clause, Filter};
pub(crate) use listing::{Listing, Tables};
pub(crate) use order::{Order, SortKey, key, tie_break};
pub(crate) use params::expected_words;
pub(crate) use params::{Page, Params, PathInt, parse_time};
