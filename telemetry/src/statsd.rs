//! StatsD, under Airflow's names. A plain server knows no labels: what differs in them only is put together, and with
//! `[metrics] legacy_names_on` told once more with their values in the name. Datadog's knows them as tags.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::mwaa::{ROWS, Row, Source};
use crate::options::Statsd;
use crate::recorder::Samples;
use crate::sample::{Sample, Value};
use crate::selection::Selection;

/// How often what was recorded is sent.
const INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a packet, so that no network takes it apart.
const PACKET: usize = 1_400;

/// Sends until it is told to stop, and once more then.
pub(crate) async fn send(samples: Samples, statsd: Statsd, selection: Selection, stop: CancellationToken) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => {}
        }
        let taken = samples.take();
        let lines = lines(&statsd, taken.into_iter().filter(|sample| selection.has(&sample.name)));
        let number = lines.len();
        if let Err(error) = send_packets(&statsd, packets(lines.into_iter())).await {
            metrics::counter!("tradewind.statsd.dropped").increment(number as u64);
            tracing::debug!(%error, "metrics could not be sent to StatsD");
        }
    }
}

async fn send_packets(statsd: &Statsd, packets: Vec<String>) -> std::io::Result<()> {
    let mut addresses = tokio::net::lookup_host((statsd.host.as_str(), statsd.port)).await?;
    let Some(address) = addresses.next() else { return Ok(()) };
    let socket = UdpSocket::bind(if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }).await?;
    for packet in packets {
        socket.send_to(packet.as_bytes(), address).await?;
    }
    Ok(())
}

/// Lines, as many in a packet as it holds.
fn packets(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut packets: Vec<String> = Vec::new();
    for line in lines {
        match packets.last_mut() {
            Some(packet) if packet.len() + 1 + line.len() <= PACKET => {
                packet.push('\n');
                packet.push_str(&line);
            }
            _ => packets.push(line),
        }
    }
    packets
}

/// What the server is told.
fn lines(statsd: &Statsd, samples: impl Iterator<Item = Sample>) -> Vec<String> {
    if statsd.has_tags {
        return samples.map(|sample| line(&statsd.prefix, &sample.name, sample.value, &sample.labels)).collect();
    }
    let mut lines = Vec::new();
    let mut plain: BTreeMap<String, Value> = BTreeMap::new();
    for sample in samples {
        if let Some(name) = legacy_name(&sample).filter(|_| statsd.has_legacy_names) {
            lines.push(line(&statsd.prefix, &name, sample.value, &[]));
        }
        plain.entry(sample.name).and_modify(|value| *value = value.with(sample.value)).or_insert(sample.value);
    }
    lines.extend(plain.iter().map(|(name, value)| line(&statsd.prefix, name, *value, &[])));
    lines
}

/// The name with the values of labels in it, where Airflow has one.
fn legacy_name(sample: &Sample) -> Option<String> {
    let is_its =
        |row: &&Row| matches!(row.source, Source::Recorded(name) if name == sample.name) && row.statsd.contains('{');
    let mut name = ROWS.iter().find(is_its)?.statsd.to_owned();
    for (label, value) in &sample.labels {
        name = name.replace(&format!("{{{label}}}"), value);
    }
    (!name.contains('{')).then_some(name)
}

/// A metric in StatsD's words. Times are in milliseconds there; of many, the mean is told with how often it stands for.
fn line(prefix: &str, name: &str, value: Value, tags: &[(String, String)]) -> String {
    let mut line = format!("{prefix}.{name}");
    let written = match value {
        Value::Count(grown) => write!(line, ":{grown}|c"),
        Value::Level(level) => write!(line, ":{level}|g"),
        Value::Spread(spread) => {
            let share = 1.0 / spread.count as f64;
            let mean = spread.sum * share * 1000.0;
            if spread.count == 1 { write!(line, ":{mean}|ms") } else { write!(line, ":{mean}|ms|@{share}") }
        }
    };
    for (place, (name, value)) in tags.iter().enumerate() {
        line.push_str(if place == 0 { "|#" } else { "," });
        line.extend([name.as_str(), ":", value.as_str()]);
    }
    debug_assert!(written.is_ok(), "a string takes everything");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Spread;

    fn sample(value: Value, labels: &[(&str, &str)]) -> Sample {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Sample { name: "ti.start".to_owned(), labels, value }
    }

    fn server(has_tags: bool) -> Statsd {
        Statsd { host: String::new(), port: 0, prefix: "x".to_owned(), has_tags, has_legacy_names: !has_tags }
    }

    #[test]
    fn lines_are_statsds() {
        let spread = |count, sum| Value::Spread(Spread { min: 0.5, max: 1.5, sum, count });
        for (sample, expected) in [
            (sample(Value::Count(3), &[("dag_id", "a"), ("task_id", "b")]), "x.ti.start:3|c|#dag_id:a,task_id:b"),
            (sample(Value::Level(0.5), &[]), "x.ti.start:0.5|g"),
            (sample(spread(1, 0.25), &[]), "x.ti.start:250|ms"),
            (sample(spread(2, 2.0), &[]), "x.ti.start:1000|ms|@0.5"),
        ] {
            assert_eq!(lines(&server(true), std::iter::once(sample)), [expected]);
        }
    }

    #[test]
    fn a_server_without_tags_is_told_names_with_ids_and_the_sum() {
        let of = |task| sample(Value::Count(1), &[("dag_id", "a"), ("task_id", task)]);
        assert_eq!(
            lines(&server(false), [of("b"), of("c")].into_iter()),
            ["x.ti.start.a.b:1|c", "x.ti.start.a.c:1|c", "x.ti.start:2|c"]
        );
    }

    #[test]
    fn packets_are_filled_and_never_too_long() {
        let packets = packets((0..100).map(|number| format!("{number:0>40}")));
        assert_eq!(packets.len(), 3);
        assert!(packets.iter().all(|packet| packet.len() <= PACKET));
        assert_eq!(packets.iter().map(|packet| packet.lines().count()).sum::<usize>(), 100);
    }
}
