//! Which objects of the bucket describe the environment: `[tradewind] requirements_s3_path` and its likes.

use std::time::Duration;

use tradewind_airflow::config::{Config, ConfigError};
use tradewind_bundle::configuration::source_bucket;

/// An object of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPath {
    /// Its key.
    pub key: String,
    /// The version that counts; none: the newest.
    pub version: Option<String>,
}

/// What describes the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The bucket of `[tradewind] source_bucket_arn`.
    pub bucket: String,
    /// What the keys of its Dags start with.
    pub dags: String,
    /// What pip installs.
    pub requirements: Option<ObjectPath>,
    /// A zip archive that becomes the plugins folder.
    pub plugins: Option<ObjectPath>,
    /// A script that bash runs first.
    pub startup_script: Option<ObjectPath>,
    /// `[tradewind] requirements_timeout`.
    pub requirements_timeout: Duration,
    /// `[tradewind] startup_script_timeout`.
    pub startup_script_timeout: Duration,
    /// How often it is looked whether the objects have changed: `[tradewind] s3_refresh_interval`.
    pub interval: Duration,
}

impl Options {
    /// Reads the options; `None` when the bucket has nothing but Dags.
    ///
    /// # Errors
    /// A path without a bucket, or a version without a path.
    pub fn from_config(config: &Config) -> Result<Option<Self>, ConfigError> {
        let place = source_bucket(config)?;
        let object = |name: &str| object(config, name, place.is_some());
        let (requirements, plugins) = (object("requirements")?, object("plugins")?);
        let startup_script = object("startup_script")?;
        let Some(place) = place else { return Ok(None) };
        if requirements.is_none() && plugins.is_none() && startup_script.is_none() {
            return Ok(None);
        }
        Ok(Some(Self {
            bucket: place.bucket,
            dags: place.prefix,
            requirements,
            plugins,
            startup_script,
            requirements_timeout: config.seconds("tradewind", "requirements_timeout")?,
            startup_script_timeout: config.seconds("tradewind", "startup_script_timeout")?,
            interval: config.seconds("tradewind", "s3_refresh_interval")?,
        }))
    }

    /// The addresses of the objects.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let objects = [&self.startup_script, &self.plugins, &self.requirements];
        objects.into_iter().flatten().map(|object| self.url(&object.key)).collect()
    }

    /// The address of an object.
    #[must_use]
    pub fn url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }
}

fn object(config: &Config, name: &str, has_bucket: bool) -> Result<Option<ObjectPath>, ConfigError> {
    let (path, version) = (format!("{name}_s3_path"), format!("{name}_s3_object_version"));
    let key = config.optional("tradewind", &path)?.map(|key| key.trim_start_matches('/').to_owned());
    if key.is_some() && !has_bucket {
        let expected = "left out unless source_bucket_arn names a bucket";
        return Err(config.invalid("tradewind", &path, expected));
    }
    let version_of_it = config.optional("tradewind", &version)?.map(str::to_owned);
    match (key, version_of_it) {
        (None, Some(_)) => {
            Err(config.invalid("tradewind", &version, format!("left out unless {path} names an object")))
        }
        (None, None) => Ok(None),
        (Some(key), version) => Ok(Some(ObjectPath { key, version })),
    }
}

#[cfg(test)]
mod tests {
    use tradewind_airflow::config::Environment;

    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Option<Options>, String> {
        let home = tempfile::tempdir().expect("a folder");
        let environment = Environment::default().with("AIRFLOW_HOME", home.path().to_string_lossy());
        let environment = options.iter().fold(environment, |environment, (name, value)| {
            environment.with(format!("AIRFLOW__TRADEWIND__{}", name.to_uppercase()), *value)
        });
        let config = Config::from_environment(&environment).map_err(|error| error.to_string())?;
        Options::from_config(&config).map_err(|error| error.to_string())
    }

    const BUCKET: (&str, &str) = ("source_bucket_arn", "arn:aws:s3:::b");

    #[test]
    fn objects_are_named_as_amazon_mwaa_names_them() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[BUCKET]), Ok(None));
        let options = read(&[BUCKET, ("requirements_s3_path", "a/r.txt"), ("requirements_s3_object_version", "v1")]);
        let options = options.expect("options").expect("an environment");
        assert_eq!(
            options.requirements,
            Some(ObjectPath { key: "a/r.txt".to_owned(), version: Some("v1".to_owned()) })
        );
        assert_eq!(options.urls(), ["s3://b/a/r.txt"]);
        assert_eq!((options.requirements_timeout.as_secs(), options.startup_script_timeout.as_secs()), (540, 300));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        let error = read(&[("plugins_s3_path", "plugins.zip")]).expect_err("no bucket");
        assert!(error.contains("plugins_s3_path") && error.contains("source_bucket_arn"), "{error}");
        let error = read(&[BUCKET, ("plugins_s3_object_version", "v")]).expect_err("no path");
        assert!(error.contains("plugins_s3_object_version") && error.contains("plugins_s3_path"), "{error}");
    }
}
