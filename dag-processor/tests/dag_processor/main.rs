//! Tests of the Dag processor with files, a database and real children.

mod deadlines;
mod discovery;
mod parsing;
mod persistence;
mod support;
mod versions;
