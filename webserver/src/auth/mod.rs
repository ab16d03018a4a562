//! Who asks, and what they may do: Airflow's simple auth manager.

pub(crate) mod login;
mod session;
mod user;

pub(crate) use session::refresh_session;
pub(crate) use user::{Resource, User};
