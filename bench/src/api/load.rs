//! Requests of one shape, side by side, for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::server::Server;
use crate::shape::Shape;

/// Connections, each with one request at a time.
const CONNECTIONS: usize = 8;

/// What is not counted at first: caches and connections that are still cold.
const WARM_UP: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    /// Milliseconds.
    pub(crate) median: f64,
    /// Milliseconds.
    pub(crate) p99: f64,
}

impl Measured {
    /// Nothing could be measured.
    pub(crate) const NOTHING: Self = Self { per_second: f64::NAN, median: f64::NAN, p99: f64::NAN };
}

/// Asks for so long.
pub(crate) async fn measure(server: &Server, shape: Shape, duration: Duration) -> anyhow::Result<Measured> {
    let client = reqwest::Client::builder().pool_max_idle_per_host(CONNECTIONS).build()?;
    let number = Arc::new(AtomicUsize::new(0));
    let began = Instant::now() + WARM_UP;
    let ends = began + duration;
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (client, number) = (client.clone(), Arc::clone(&number));
        let (address, token) = (server.address.clone(), server.token.clone());
        connections.spawn(async move {
            let mut delays = Vec::new();
            while Instant::now() < ends {
                let url = format!("{address}{}", (shape.path)(number.fetch_add(1, Ordering::Relaxed)));
                let request =
                    if let Some(body) = shape.body() { client.post(url).json(&body) } else { client.get(url) };
                let sent = Instant::now();
                let answer = request.bearer_auth(&token).send().await?;
                let status = answer.status();
                let body = answer.bytes().await?;
                ensure!(status.is_success(), "{}: {status}: {}", shape.name, String::from_utf8_lossy(&body));
                if sent >= began {
                    delays.push(sent.elapsed().as_secs_f64() * 1000.0);
                }
            }
            anyhow::Ok(delays)
        });
    }
    let mut delays = Vec::new();
    while let Some(found) = connections.join_next().await {
        delays.extend(found??);
    }
    ensure!(!delays.is_empty(), "{}: no request was answered in time", shape.name);
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays.get((delays.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    Ok(Measured { per_second: delays.len() as f64 / began.elapsed().as_secs_f64(), median: at(0.5), p99: at(0.99) })
}
