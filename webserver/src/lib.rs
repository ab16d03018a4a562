//! The web server: Airflow's REST API v2, the UI's own API, login, and the official UI from the installed wheel.
//!
//! [`WebServer`] is the way in. Handlers live in one module per entity under `api_v2` and `ui`; what they answer is
//! tested against the official OpenAPI documents and against recorded answers of the official API server.
#![forbid(unsafe_code)]

mod options;
mod server;

mod api_v2;
mod auth;
mod static_ui;
mod ui;

mod audit;
mod body;
mod dag_params;
mod dependencies;
mod error;
mod python;
mod query;
mod serialized_dag;
mod signed_token;
mod state;
mod states;
mod task_log;
mod timestamp;

pub use options::OptionsError;
pub use server::WebServer;
