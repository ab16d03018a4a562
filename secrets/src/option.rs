//! Options of the configuration whose `_SECRET` forms name a secret.

use tokio::runtime::Builder;

use crate::backend::Backend;
use crate::configuration;

/// Looks an option up in a backend of AWS, for [`Config::with_secrets`](tradewind_airflow::config::Config::with_secrets). It waits
/// for the answer: nothing of a process can begin before its configuration is there.
pub fn look_up_option(class: &str, arguments: &str, name: &str) -> Option<Result<String, String>> {
    let settings = match configuration::backend(class, arguments)? {
        Ok(settings) => settings,
        Err(expected) => return Some(Err(format!("[secrets] backend_kwargs is not {expected}"))),
    };
    let backend = Backend::new(settings);
    let name = name.to_owned();
    // The caller may itself work in a runtime, which must not be blocked by another.
    let asked = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        match runtime.block_on(backend.option(&name)) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(format!(
                "{} has no such secret\nhint: make it, or look at config_prefix and sep in [secrets] backend_kwargs",
                backend.name()
            )),
            Err(error) => Err(error.to_string()),
        }
    });
    Some(asked.join().unwrap_or_else(|_| Err("the secrets backend could not be asked".to_owned())))
}
