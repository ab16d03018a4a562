//! A collector of OpenTelemetry, which keeps what it is told by OTLP over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, Metric, NumberDataPoint,
};
use prost::Message as _;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A point: its attributes, and what it says.
pub type Point = (BTreeMap<String, String>, String);

/// A metric: what kind it is of and its unit, and its points.
pub type Told = (String, BTreeSet<Point>);

/// A collector on a free port of the loopback address.
pub struct Collector {
    address: String,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// The newest request of each process, by the id in its resource.
    processes: BTreeMap<String, ExportMetricsServiceRequest>,
    headers: Vec<HeaderMap>,
    refusal: Option<StatusCode>,
}

impl Collector {
    /// Listens.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("its address"));
        let known = Arc::new(Mutex::new(Known::default()));
        let routes = Router::new().route("/v1/metrics", post(receive)).with_state(Arc::clone(&known));
        tokio::spawn(async { axum::serve(listener, routes).await });
        Self { address, known }
    }

    /// Listens by TLS, too, with `certificate.pem` and `key.pem` of a folder, and returns the address for that.
    ///
    /// # Panics
    /// When the files cannot be used.
    pub async fn listen_by_tls(&self, folder: &Path) -> String {
        let chain = CertificateDer::pem_file_iter(folder.join("certificate.pem")).expect("a file").flatten().collect();
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .expect("a server");
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("https://{}", listener.local_addr().expect("its address"));
        let behind = self.address.trim_start_matches("http://").to_owned();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    // A client that does not believe the certificate goes away.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut behind = TcpStream::connect(behind).await.expect("the collector listens");
                    drop(copy_bidirectional(&mut stream, &mut behind).await);
                });
            }
        });
        address
    }

    /// Its address, without a path.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Answers every request with this from now on, and keeps none; or takes them again.
    pub fn refuse(&self, status: Option<StatusCode>) {
        self.known().refusal = status;
    }

    /// The headers of all requests.
    #[must_use]
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.known().headers.clone()
    }

    /// The attributes of the resources of all processes.
    #[must_use]
    pub fn resources(&self) -> Vec<BTreeMap<String, String>> {
        let known = self.known();
        let resources = known.processes.values().flat_map(|request| &request.resource_metrics);
        resources.filter_map(|of_process| Some(attributes(&of_process.resource.as_ref()?.attributes))).collect()
    }

    /// The metrics that a process has told last, by name; those of all processes, where they do not tell the same.
    #[must_use]
    pub fn told(&self) -> BTreeMap<String, Told> {
        let known = self.known();
        let of_scopes = known.processes.values().flat_map(|request| &request.resource_metrics);
        let metrics = of_scopes.flat_map(|of_process| &of_process.scope_metrics).flat_map(|of_scope| &of_scope.metrics);
        let mut told: BTreeMap<String, Told> = BTreeMap::new();
        for metric in metrics {
            let (kind, points) = read(metric);
            told.entry(metric.name.clone()).or_insert_with(|| (kind, BTreeSet::new())).1.extend(points);
        }
        told
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn receive(State(known): State<Arc<Mutex<Known>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(status) = known.refusal {
        return status;
    }
    let body = if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(&*body).read_to_end(&mut plain).expect("a packed request");
        plain
    } else {
        body.to_vec()
    };
    let request = ExportMetricsServiceRequest::decode(&*body).expect("a request of OTLP");
    let resource = request.resource_metrics.first().and_then(|of_process| of_process.resource.as_ref());
    let id = resource.and_then(|resource| attributes(&resource.attributes).remove("service.instance.id"));
    known.processes.insert(id.unwrap_or_default(), request);
    known.headers.push(headers);
    StatusCode::OK
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |attribute: &KeyValue| match &attribute.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    };
    attributes.iter().filter_map(|attribute| Some((attribute.key.clone(), value(attribute)?))).collect()
}

fn read(metric: &Metric) -> Told {
    let temporality = |number: i32| AggregationTemporality::try_from(number).expect("a temporality").as_str_name();
    let (kind, points): (String, Vec<Point>) = match metric.data.as_ref().expect("data") {
        Data::Sum(sum) => {
            let kind = if sum.is_monotonic { "counter" } else { "up-down counter" };
            let points = sum.data_points.iter().map(number).collect();
            (format!("{kind} {}", temporality(sum.aggregation_temporality)), points)
        }
        Data::Gauge(gauge) => ("gauge".to_owned(), gauge.data_points.iter().map(number).collect()),
        Data::ExponentialHistogram(histogram) => {
            let points = histogram.data_points.iter().map(spread).collect();
            (format!("exponential histogram {}", temporality(histogram.aggregation_temporality)), points)
        }
        other => panic!("official Airflow has nothing of this kind: {other:?}"),
    };
    (format!("{kind} {:?}", metric.unit), points.into_iter().collect())
}

fn number(point: &NumberDataPoint) -> Point {
    let value = match point.value.expect("a value") {
        Value::AsInt(value) => value.to_string(),
        Value::AsDouble(value) => value.to_string(),
    };
    (attributes(&point.attributes), value)
}

fn spread(point: &ExponentialHistogramDataPoint) -> Point {
    let ExponentialHistogramDataPoint { count, sum, min, max, scale, zero_count, .. } = point;
    let (positive, negative) = (buckets(point.positive.as_ref()), buckets(point.negative.as_ref()));
    let said = format!(
        "count {count}, sum {sum:?}, from {min:?} to {max:?}, scale {scale}, zeros {zero_count}, {positive:?}, {negative:?}"
    );
    (attributes(&point.attributes), said)
}

/// Those that hold something.
fn buckets(buckets: Option<&Buckets>) -> Vec<(i32, u64)> {
    let Some(buckets) = buckets else { return Vec::new() };
    (buckets.offset..).zip(buckets.bucket_counts.iter().copied()).filter(|(_, count)| *count > 0).collect()
}
