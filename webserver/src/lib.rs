//! The web server: Airflow's REST API v2, the UI's own API, login, the official UI from the installed wheel, and an API
//! of our own for what Airflow's has no place for.
//!
//! [`WebServer`] is the way in. Handlers live in one module per entity under `api_v2`, `ui` and `tradewind_v1`; what they answer is
//! tested against the official OpenAPI documents and against recorded answers of the official API server.
#![forbid(unsafe_code)]

mod openapi;
mod options;
mod server;

mod api_v2;
mod auth;
mod batches;
mod static_ui;
mod tradewind_v1;
mod ui;

mod audit;
mod body;
mod connections;
mod cross_origin;
mod dag_params;
mod dependencies;
mod error;
mod kept;
mod kept_logs;
mod log_parts;
mod no_content;
mod proxy;
mod python;
mod query;
mod refusal;
mod request_body;
mod run_id;
mod serialized_dag;
mod served_logs;
mod shared_answer;
mod signed_token;
mod single_flight;
mod state;
mod states;
mod task_log;
mod timestamp;
mod tls;

pub use auth::{Action, AuthManager, DagRights, Identity, Resource, TeamRights};
pub use connections::Connections;
pub use options::OptionsError;
pub use proxy::{Network, NetworkError};
pub use server::WebServer;
