//! What Airflow writes on a wire or in a file: configuration, frames, serialized Dags, logs, tokens, secrets.
#![forbid(unsafe_code)]

pub mod config;
pub mod encoded_value;
pub mod environment_class;
pub mod evaluation;
pub mod executor_config;
pub mod fernet;
pub mod frames;
pub mod jwt;
pub mod log_format;
pub mod log_path;
pub mod log_token;
pub mod pyhost_protocol;
pub mod python_json;
pub mod secrets_masker;
pub mod serialized_dag;
pub mod simple_auth;
pub mod supervisor_protocol;
