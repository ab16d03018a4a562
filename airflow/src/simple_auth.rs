//! The users of Airflow's simple auth manager (`airflow/api_fastapi/auth/managers/simple/simple_auth_manager.py`).

use crate::config::{Config, ConfigError};
use rand::RngExt as _;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Letters and digits that cannot be mistaken for one another.
const PASSWORD_ALPHABET: &[u8] = b"abcdefghkmnpqrstuvwxyzABCDEFGHKMNPQRSTUVWXYZ23456789";
const PASSWORD_LENGTH: usize = 16;

/// What a user may do; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads everything but connections and variables.
    Viewer,
    /// Also changes Dags, their runs and task instances.
    User,
    /// Also reads and changes connections, variables, pools, assets and the configuration.
    Op,
    /// Everything.
    Admin,
}

impl Role {
    /// The role of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "VIEWER" => Some(Self::Viewer),
            "USER" => Some(Self::User),
            "OP" => Some(Self::Op),
            "ADMIN" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// One user of `[core] simple_auth_manager_users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name to log in with.
    pub name: String,
    /// The name of the role, as configured.
    pub role: String,
    /// The teams that the user belongs to; none without `[core] multi_team`.
    pub teams: BTreeSet<String>,
}

impl User {
    /// One of the form `name:role` or `name:role:team|team`, if it has that form.
    fn parse(entry: &str) -> Option<Self> {
        let mut parts = entry.split(':');
        let (name, role, teams) = (parts.next()?, parts.next()?, parts.next());
        let teams: BTreeSet<String> =
            teams.map(|teams| teams.split('|').map(str::to_owned).collect()).unwrap_or_default();
        let is_whole = parts.next().is_none() && Role::from_name(role).is_some() && !teams.contains("");
        is_whole.then(|| Self { name: name.to_owned(), role: role.to_owned(), teams })
    }
}

/// What is wrong with the users or their password file.
#[derive(Debug, thiserror::Error)]
pub enum SimpleAuthError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A user belongs to a team where there are none.
    #[error(
        "[core] simple_auth_manager_users puts {user} into a team, and [core] multi_team is not set; set it to True or leave the teams out"
    )]
    Teams {
        /// The name of the user.
        user: String,
    },
    /// The password file cannot be read or written.
    #[error(
        "cannot use the password file {path}: {source}; make its folder writable or set [core] simple_auth_manager_passwords_file"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The password file holds something else than a JSON object of names and passwords.
    #[error("the password file {path} is not a JSON object of user names and passwords: {source}; mend or delete it")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
}

/// A password made for a user that the password file did not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPassword {
    /// The user.
    pub user: String,
    /// The password, in the clear: shown once at start, as Airflow does.
    pub password: String,
}

/// The users of a deployment.
#[derive(Debug, Clone)]
pub struct SimpleAuth {
    users: Vec<User>,
    password_file: PathBuf,
    all_admins: bool,
}

impl SimpleAuth {
    /// Reads the users from the configuration; touches no file.
    pub fn from_config(config: &Config) -> Result<Self, SimpleAuthError> {
        let expected =
            "a list of user:role, or user:role:team|team, with roles viewer, user, op, admin, separated by commas";
        let multi_team = config.bool("core", "multi_team")?;
        let mut users = Vec::new();
        for entry in config.list_of("core", "simple_auth_manager_users")? {
            let user = User::parse(&entry);
            let user = user.ok_or_else(|| config.invalid("core", "simple_auth_manager_users", expected))?;
            if !multi_team && !user.teams.is_empty() {
                return Err(SimpleAuthError::Teams { user: user.name });
            }
            users.push(user);
        }
        let password_file = config
            .optional("core", "simple_auth_manager_passwords_file")?
            .filter(|path| !path.is_empty())
            .map_or_else(|| config.home().join("simple_auth_manager_passwords.json.generated"), PathBuf::from);
        Ok(Self { users, password_file, all_admins: config.bool("core", "simple_auth_manager_all_admins")? })
    }

    /// Whether everybody is an administrator without logging in.
    pub fn all_admins(&self) -> bool {
        self.all_admins
    }

    /// The file of the passwords.
    pub fn password_file(&self) -> &Path {
        &self.password_file
    }

    /// Makes a password for every user that has none, under an exclusive lock of the file, and returns the new ones.
    pub fn ensure_passwords(&self) -> Result<Vec<NewPassword>, SimpleAuthError> {
        if self.all_admins {
            return Ok(Vec::new());
        }
        let file_error = |source| SimpleAuthError::File { path: self.password_file.clone(), source };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.password_file)
            .map_err(file_error)?;
        file.lock().map_err(file_error)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(file_error)?;
        let mut passwords = self.parse(&text)?;

        let mut made = Vec::new();
        for user in &self.users {
            if !passwords.contains_key(&user.name) {
                let password = generate_password();
                passwords.insert(user.name.clone(), password.clone().into());
                made.push(NewPassword { user: user.name.clone(), password });
            }
        }
        if !made.is_empty() {
            file.rewind().map_err(file_error)?;
            file.set_len(0).map_err(file_error)?;
            writeln!(file, "{}", Value::Object(passwords)).map_err(file_error)?;
        }
        Ok(made)
    }

    /// The user of that name and password; the password file is read each time, so edits count at once.
    pub fn authenticate(&self, name: &str, password: &str) -> Result<Option<User>, SimpleAuthError> {
        let text = fs::read_to_string(&self.password_file)
            .map_err(|source| SimpleAuthError::File { path: self.password_file.clone(), source })?;
        let passwords = self.parse(&text)?;
        let known = |user: &&User| {
            let expected = passwords.get(&user.name).and_then(Value::as_str).unwrap_or_default();
            user.name == name && equal_in_constant_time(expected.as_bytes(), password.as_bytes())
        };
        Ok(self.users.iter().find(known).cloned())
    }

    fn parse(&self, text: &str) -> Result<Map<String, Value>, SimpleAuthError> {
        let text = text.trim();
        serde_json::from_str(if text.is_empty() { "{}" } else { text })
            .map_err(|source| SimpleAuthError::Format { path: self.password_file.clone(), source })
    }
}

fn generate_password() -> String {
    let mut random = rand::rng();
    (0..PASSWORD_LENGTH)
        .map(|_| char::from(PASSWORD_ALPHABET[random.random_range(0..PASSWORD_ALPHABET.len())]))
        .collect()
}

/// Compares without leaving at the first difference, so that timing tells nothing (CWE-208).
fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn users(file: &Path) -> SimpleAuth {
        let user = |name: &str, role: &str| User::parse(&format!("{name}:{role}")).expect("a user");
        SimpleAuth {
            users: vec![user("admin", "admin"), user("eve", "viewer")],
            password_file: file.to_owned(),
            all_admins: false,
        }
    }

    #[test]
    fn makes_each_password_once_and_keeps_the_rest_of_the_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("passwords.json");
        fs::write(&file, r#"{"admin": "known"}"#).expect("writes");
        let auth = users(&file);
        let made = auth.ensure_passwords().expect("usable file");
        assert_eq!(made.iter().map(|made| made.user.as_str()).collect::<Vec<_>>(), ["eve"]);
        assert_eq!(made[0].password.len(), PASSWORD_LENGTH);
        assert_eq!(auth.ensure_passwords().expect("usable file"), []);
        let eve = auth.authenticate("eve", &made[0].password).expect("readable").map(|user| user.role);
        assert_eq!(eve.as_deref(), Some("viewer"));
        assert!(auth.authenticate("admin", "known").expect("readable").is_some());
        assert!(auth.authenticate("admin", "").expect("readable").is_none());
        assert!(auth.authenticate("mallory", "").expect("readable").is_none());
    }

    #[test]
    fn users_belong_to_teams_where_there_are_any() {
        let read = |users: &str, multi_team: &str| {
            let environment = Environment::default()
                .with("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", users)
                .with("AIRFLOW__CORE__MULTI_TEAM", multi_team);
            let config = Config::from_environment(&environment).expect("a valid configuration");
            SimpleAuth::from_config(&config).map(|auth| auth.users)
        };
        let users = read("admin:admin,eve:viewer:red|blue", "True").expect("users");
        let teams: Vec<Vec<&str>> = users.iter().map(|user| user.teams.iter().map(String::as_str).collect()).collect();
        assert_eq!(teams, [vec![], vec!["blue", "red"]]);
        let refused = |users: &str, multi_team: &str| read(users, multi_team).expect_err("refused").to_string();
        assert!(refused("eve:viewer:red", "False").contains("[core] multi_team is not set"));
        for wrong in ["eve", "eve:root", "eve:viewer:", "eve:viewer:red:blue", "eve:viewer:red|"] {
            assert!(refused(wrong, "True").contains("user:role:team|team"), "{wrong}");
        }
    }

    #[test]
    fn roles_include_the_lower_ones() {
        assert!(Role::Admin > Role::Op && Role::Op > Role::User && Role::User > Role::Viewer);
        assert_eq!(Role::from_name("op"), Some(Role::Op));
        assert_eq!(Role::from_name("root"), None);
    }
}
