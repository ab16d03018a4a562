//! Who asks, and what they may do.
//!
//! [`AuthManager`] decides; there is one, Airflow's simple auth manager. [`User`] is who a request is from: handlers take
//! it as an argument and ask it.

mod checked_tokens;
mod key_set;
pub(crate) mod login;
mod manager;
mod session;
mod simple;
mod user;

pub(crate) use checked_tokens::CheckedTokens;
pub(crate) use key_set::KeySet;
pub(crate) use manager::{AuthManager, Identity, Resource, manager};
pub(crate) use session::{identify, refresh_session};
pub(crate) use simple::SIMPLE;
pub(crate) use user::User;
