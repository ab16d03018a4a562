//! Who asks, and what they may do.
//!
//! [`AuthManager`] decides; there is one, Airflow's simple auth manager. [`User`] is who a request is from: handlers take
//! it as an argument and ask it. A handler whose answer tells of more than the Dag of its path narrows it to
//! [`User::readable`]; `tests/contract/rights.rs` asks every operation whether it does.

mod checked_tokens;
mod key_set;
pub(crate) mod login;
mod manager;
mod rights;
mod session;
mod simple;
mod user;

pub(crate) use checked_tokens::CheckedTokens;
pub(crate) use key_set::KeySet;
pub(crate) use manager::manager;
pub use manager::{Action, AuthManager, DagRights, Identity, Resource, TeamRights};
pub(crate) use rights::{BindDags, Dags, Rights};
pub(crate) use session::{identify, refresh_session, rights_of};
pub(crate) use simple::SIMPLE;
pub(crate) use user::User;
