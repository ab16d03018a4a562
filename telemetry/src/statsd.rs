//! StatsD, under Airflow's names; with `[metrics] legacy_names_on` also under the older ones, which hold the values of labels. A
//! plain server knows no labels: what differs in them only is put together. InfluxDB's and Datadog's know them as tags.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::names;
use crate::options::{Statsd, Tags};
use crate::recorder::Samples;
use crate::sample::{Sample, Value};
use crate::selection::Selection;

/// How often what was recorded is sent.
const INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a packet, so that no network takes it apart.
const PACKET: usize = 1_400;

/// The longest name that official Airflow tells, with its tags where they are part of it.
const NAME_LENGTH: usize = 250;

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
        let lines = lines(&statsd, &selection, &taken);
        let number = lines.len();
        if let Err(error) = send_packets(&statsd, packets(lines.into_iter())).await {
            metrics::counter!("tradewind.statsd.dropped").increment(number as u64);
            tracing::debug!(%error, "metrics could not be sent to StatsD");
        }
    }
}

async fn send_packets(statsd: &Statsd, packets: Vec<String>) -> std::io::Result<()> {
    let addresses: Vec<_> = tokio::net::lookup_host((statsd.host.as_str(), statsd.port)).await?.collect();
    let is_preferred = |address: &&SocketAddr| address.is_ipv6() == statsd.prefers_ipv6;
    let Some(address) = addresses.iter().find(is_preferred).or(addresses.first()) else { return Ok(()) };
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
fn lines(statsd: &Statsd, selection: &Selection, samples: &[Sample]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut merged: BTreeMap<String, Value> = BTreeMap::new();
    for sample in samples {
        for (mut name, mut labels) in names::all(&sample.name, &sample.labels, statsd.has_legacy_names) {
            labels.retain(|(label, _)| statsd.sent_tags.as_ref().is_some_and(|sent| sent.has(label)));
            if statsd.tags == Tags::Influx {
                name = with_influx_tags(name, &labels);
            }
            let is_valid = name.len() <= NAME_LENGTH && names::has_valid_characters(&name, statsd.tags == Tags::Influx);
            if !is_valid || !selection.has(&name) {
                continue;
            }
            match &statsd.tags {
                Tags::Datadog { all } => {
                    let tags = labels.into_iter().map(|(name, value)| format!("{name}:{value}")).chain(all.clone());
                    lines.push(line(&statsd.prefix, &name, sample.value, &tags.collect::<Vec<_>>()));
                }
                Tags::None | Tags::Influx => {
                    let value = sample.value;
                    merged.entry(name).and_modify(|known| *known = known.with(value)).or_insert(value);
                }
            }
        }
    }
    lines.extend(merged.iter().map(|(name, value)| line(&statsd.prefix, name, *value, &[])));
    lines
}

/// The name with tags behind it, but for those that would be taken for others.
fn with_influx_tags(mut name: String, labels: &[(String, String)]) -> String {
    let has_sign = |text: &str| text.contains([',', '=']);
    for (label, value) in labels.iter().filter(|(label, value)| !has_sign(label) && !has_sign(value)) {
        name.extend([",", label, "=", value]);
    }
    name
}

/// A metric in StatsD's words. Times are in milliseconds there; of many, the mean is told with how often it stands for.
fn line(prefix: &str, name: &str, value: Value, tags: &[String]) -> String {
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
    if !tags.is_empty() {
        line.extend(["|#", &tags.join(",")]);
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

    fn server(tags: Tags, has_legacy_names: bool) -> Statsd {
        let sent_tags = Some(Selection::default());
        let (host, prefix) = (String::new(), "x".to_owned());
        Statsd { host, port: 0, prefers_ipv6: false, prefix, tags, sent_tags, has_legacy_names }
    }

    fn told(statsd: &Statsd, samples: &[Sample]) -> Vec<String> {
        lines(statsd, &Selection::default(), samples)
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
            assert_eq!(told(&server(Tags::Datadog { all: Vec::new() }, false), &[sample]), [expected]);
        }
    }

    #[test]
    fn a_server_without_tags_is_told_names_with_ids_and_the_sum() {
        let of = |task| sample(Value::Count(1), &[("dag_id", "a"), ("task_id", task)]);
        assert_eq!(
            told(&server(Tags::None, true), &[of("b"), of("c.d")]),
            ["x.ti.start:2|c", "x.ti.start.a.b:1|c", "x.ti.start.a.c__d:1|c"]
        );
    }

    #[test]
    fn tags_are_told_in_the_servers_way() {
        let started = sample(Value::Count(1), &[("dag_id", "a"), ("task_id", "b"), ("odd", "c,d")]);
        let all = vec!["env:test".to_owned()];
        assert_eq!(
            told(&server(Tags::Datadog { all }, true), std::slice::from_ref(&started)),
            ["x.ti.start.a.b:1|c|#odd:c,d,env:test", "x.ti.start:1|c|#dag_id:a,task_id:b,odd:c,d,env:test"]
        );
        assert_eq!(
            told(&server(Tags::Influx, true), &[started]),
            ["x.ti.start,dag_id=a,task_id=b:1|c", "x.ti.start.a.b:1|c"]
        );
    }

    #[test]
    fn names_that_official_airflow_does_not_tell_are_left_out() {
        let of = |dag: &str| sample(Value::Count(1), &[("dag_id", dag), ("task_id", "t")]);
        assert_eq!(told(&server(Tags::None, true), &[of("größe")]), ["x.ti.start:1|c"]);
        assert_eq!(told(&server(Tags::None, true), &[of(&"a".repeat(250))]), ["x.ti.start:1|c"]);
        assert_eq!(told(&server(Tags::Influx, false), &[of("a b")]), [""; 0]);
    }

    #[test]
    fn packets_are_filled_and_never_too_long() {
        let packets = packets((0..100).map(|number| format!("{number:0>40}")));
        assert_eq!(packets.len(), 3);
        assert!(packets.iter().all(|packet| packet.len() <= PACKET));
        assert_eq!(packets.iter().map(|packet| packet.lines().count()).sum::<usize>(), 100);
    }
}
