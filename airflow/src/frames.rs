//! Frames between a supervisor and its child: a big-endian `u32` length, then a msgpack array.
//!
//! A request is `[id, body, carrier?]`, a response `[id, body?, error?]`; left-out items at the end are null.
//! Source: `_RequestFrame` and `_ResponseFrame` in `airflow/sdk/execution_time/comms.py`.
//!
//! Bodies become JSON values. What JSON lacks is carried so:
//! - timestamps (extension -1) become RFC 3339 text in UTC with microseconds,
//! - byte strings become base64 text, as in msgspec's JSON,
//! - NaN and the infinities become null, as Airflow's own migrations of XCom values make them,
//! - keys of objects that are no text become their text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, SecondsFormat, Utc};
use rmpv::ValueRef;
use serde_json::{Map, Number, Value};

/// The largest frame that is read or written, in bytes without its length.
pub const MAX_FRAME_BYTES: usize = 512 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;
const TIMESTAMP_EXTENSION: i8 = -1;

/// Why a frame cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The frame announces, or would need, more bytes than allowed.
    #[error(
        "a frame of {length} bytes is larger than the limit of {MAX_FRAME_BYTES} bytes\nhint: pass large values through object storage instead of XCom"
    )]
    TooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// The bytes are no msgpack, or hold what a frame must not.
    #[error("a frame does not follow the supervisor protocol: {0}")]
    Malformed(String),
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame, {missing} bytes were still to come")]
    Truncated {
        /// Bytes that did not come.
        missing: usize,
    },
    /// The socket failed.
    #[error("the request socket failed: {0}")]
    Io(#[from] std::io::Error),
}

/// What a child asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Chosen by the child; its response bears the same.
    pub id: u64,
    /// The message, with its name in `type`; null when the child sends none.
    pub body: Value,
    /// The W3C trace context of the child's active span.
    pub carrier: Option<Value>,
}

/// What a supervisor answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The id of the request; 0 for the first message, which nobody asked for.
    pub id: u64,
    /// The answer.
    pub body: Option<Value>,
    /// The error in place of an answer.
    pub error: Option<Value>,
}

impl Request {
    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// The payload is no request frame.
    pub fn decode(payload: &[u8]) -> Result<Self, FrameError> {
        let mut items = decode_items(payload)?.into_iter();
        let id = frame_id(items.next())?;
        let body = items.next().unwrap_or(Value::Null);
        Ok(Self { id, body, carrier: items.next().filter(|carrier| !carrier.is_null()) })
    }

    /// The request as a frame, its length included.
    ///
    /// # Errors
    /// The frame would be too large.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match &self.carrier {
            Some(carrier) => encode_items(&(self.id, &self.body, carrier)),
            None => encode_items(&(self.id, &self.body)),
        }
    }
}

impl Response {
    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// The payload is no response frame.
    pub fn decode(payload: &[u8]) -> Result<Self, FrameError> {
        let mut items = decode_items(payload)?.into_iter();
        let id = frame_id(items.next())?;
        let mut optional = || items.next().filter(|item| !item.is_null());
        let body = optional();
        Ok(Self { id, body, error: optional() })
    }

    /// The response as a frame, its length included.
    ///
    /// # Errors
    /// The frame would be too large.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        encode_response(self.id, self.body.as_ref(), self.error.as_ref())
    }
}

/// A response frame, its length included, from borrowed parts.
///
/// # Errors
/// The frame would be too large.
pub fn encode_response(id: u64, body: Option<&Value>, error: Option<&Value>) -> Result<Vec<u8>, FrameError> {
    match (body, error) {
        (_, Some(error)) => encode_items(&(id, body, error)),
        (body, None) => encode_items(&(id, body)),
    }
}

fn encode_items<T: serde::Serialize>(items: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; LENGTH_BYTES];
    rmp_serde::encode::write(&mut frame, items).map_err(|error| FrameError::Malformed(error.to_string()))?;
    let length = frame.len() - LENGTH_BYTES;
    let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME_BYTES);
    let prefix = prefix.ok_or(FrameError::TooLarge { length })?;
    frame[..LENGTH_BYTES].copy_from_slice(&prefix.to_be_bytes());
    Ok(frame)
}

fn decode_items(mut payload: &[u8]) -> Result<Vec<Value>, FrameError> {
    let value = rmpv::decode::read_value_ref(&mut payload).map_err(|error| FrameError::Malformed(error.to_string()))?;
    if !payload.is_empty() {
        return Err(FrameError::Malformed(format!("{} bytes follow its array", payload.len())));
    }
    match value {
        ValueRef::Array(items) => items.into_iter().map(to_json).collect(),
        other => Err(FrameError::Malformed(format!("an array was expected, not {other}"))),
    }
}

fn frame_id(item: Option<Value>) -> Result<u64, FrameError> {
    item.as_ref().and_then(Value::as_u64).ok_or_else(|| FrameError::Malformed("it bears no id".to_owned()))
}

fn to_json(value: ValueRef<'_>) -> Result<Value, FrameError> {
    Ok(match value {
        ValueRef::Nil => Value::Null,
        ValueRef::Boolean(flag) => Value::Bool(flag),
        ValueRef::Integer(number) => match number.as_u64() {
            Some(natural) => Value::from(natural),
            None => Value::from(number.as_i64()),
        },
        ValueRef::F32(number) => Number::from_f64(f64::from(number)).map_or(Value::Null, Value::Number),
        ValueRef::F64(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        ValueRef::String(text) => Value::String(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        ValueRef::Binary(bytes) => Value::String(BASE64.encode(bytes)),
        ValueRef::Array(items) => Value::Array(items.into_iter().map(to_json).collect::<Result<_, _>>()?),
        ValueRef::Map(entries) => Value::Object(
            entries
                .into_iter()
                .map(|(key, value)| Ok((key_text(key)?, to_json(value)?)))
                .collect::<Result<Map<_, _>, FrameError>>()?,
        ),
        ValueRef::Ext(TIMESTAMP_EXTENSION, bytes) => Value::String(timestamp(bytes)?),
        ValueRef::Ext(kind, _) => return Err(FrameError::Malformed(format!("extension {kind} is not known"))),
    })
}

fn key_text(key: ValueRef<'_>) -> Result<String, FrameError> {
    Ok(match to_json(key)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// Reads the three forms of msgpack's timestamp: 32, 64 and 96 bits.
fn timestamp(bytes: &[u8]) -> Result<String, FrameError> {
    let moment = match *bytes {
        [a, b, c, d] => Some((i64::from(u32::from_be_bytes([a, b, c, d])), 0)),
        [a, b, c, d, e, f, g, h] => {
            let both = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            u32::try_from(both >> 34)
                .ok()
                .zip(i64::try_from(both & 0x3_ffff_ffff).ok())
                .map(|(nanos, seconds)| (seconds, nanos))
        }
        [n0, n1, n2, n3, s0, s1, s2, s3, s4, s5, s6, s7] => {
            Some((i64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]), u32::from_be_bytes([n0, n1, n2, n3])))
        }
        _ => None,
    };
    moment
        .and_then(|(seconds, nanos)| DateTime::<Utc>::from_timestamp(seconds, nanos))
        .map(|moment| moment.to_rfc3339_opts(SecondsFormat::Micros, false))
        .ok_or_else(|| FrameError::Malformed("a timestamp is out of range".to_owned()))
}

/// Cuts a stream of bytes into the payloads of frames; does no I/O itself.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
}

impl FrameBuffer {
    /// Where to read more bytes into: append only.
    pub fn space(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The payload of the next frame, once all of it came.
    ///
    /// # Errors
    /// The frame announces more than [`MAX_FRAME_BYTES`].
    pub fn next_payload(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let Some(length) = self.announced()? else { return Ok(None) };
        let end = LENGTH_BYTES + length;
        if self.bytes.len() < end {
            return Ok(None);
        }
        let rest = self.bytes.split_off(end);
        let mut payload = std::mem::replace(&mut self.bytes, rest);
        payload.drain(..LENGTH_BYTES);
        Ok(Some(payload))
    }

    /// To be asked when the stream ends.
    ///
    /// # Errors
    /// It ended inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let wanted = LENGTH_BYTES + self.announced()?.unwrap_or(0);
        Err(FrameError::Truncated { missing: wanted.saturating_sub(self.bytes.len()) })
    }

    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if length > MAX_FRAME_BYTES {
            return Err(FrameError::TooLarge { length });
        }
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rmpv::Value as MsgPack;
    use serde_json::json;

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e300..1e300).prop_map(Value::from),
            ".*".prop_map(Value::String),
        ];
        leaf.prop_recursive(5, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
                prop::collection::vec((".*", inner), 0..8)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    /// Feeds `stream` in pieces of `step` bytes and collects the payloads.
    fn cut(stream: &[u8], step: usize) -> Vec<Vec<u8>> {
        let mut buffer = FrameBuffer::default();
        let mut payloads = Vec::new();
        for piece in stream.chunks(step) {
            buffer.space().extend_from_slice(piece);
            while let Some(payload) = buffer.next_payload().expect("a sound frame") {
                payloads.push(payload);
            }
        }
        buffer.finish().expect("no rest");
        payloads
    }

    proptest! {
        #[test]
        fn requests_survive_any_fragmentation(
            requests in prop::collection::vec((any::<u64>(), any_json(), prop::option::of(Just(json!({"traceparent": "00"})))), 1..4),
            step in 1_usize..64,
        ) {
            let requests: Vec<Request> = requests.into_iter().map(|(id, body, carrier)| Request { id, body, carrier }).collect();
            let stream: Vec<u8> = requests.iter().flat_map(|request| request.encode().expect("small")).collect();
            let read: Vec<Request> = cut(&stream, step).iter().map(|payload| Request::decode(payload).expect("sound")).collect();
            prop_assert_eq!(read, requests);
        }

        #[test]
        fn responses_come_back(id in any::<u64>(), body in prop::option::of(any_json()), error in prop::option::of(any_json())) {
            let response = Response { id, body: body.filter(|body| !body.is_null()), error: error.filter(|error| !error.is_null()) };
            let payloads = cut(&response.encode().expect("small"), 7);
            prop_assert_eq!(Response::decode(&payloads[0]).expect("sound"), response);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Request::decode(&bytes);
            let mut buffer = FrameBuffer::default();
            buffer.space().extend_from_slice(&bytes);
            while let Ok(Some(payload)) = buffer.next_payload() {
                let _ = Response::decode(&payload);
            }
        }

        #[test]
        fn timestamps_keep_their_microsecond(seconds in -10_000_000_000_i64..10_000_000_000, micros in 0_u32..1_000_000) {
            let mut wide = (micros * 1000).to_be_bytes().to_vec();
            wide.extend_from_slice(&seconds.to_be_bytes());
            let body = body_of(MsgPack::Ext(TIMESTAMP_EXTENSION, wide));
            let read: DateTime<Utc> = body.as_str().expect("text").parse().expect("RFC 3339");
            prop_assert_eq!((read.timestamp(), read.timestamp_subsec_micros()), (seconds, micros));
        }
    }

    fn body_of(value: MsgPack) -> Value {
        let mut payload = Vec::new();
        rmpv::encode::write_value(&mut payload, &MsgPack::Array(vec![MsgPack::from(7), value])).expect("memory");
        Request::decode(&payload).expect("sound").body
    }

    #[test]
    fn what_json_lacks_is_carried_as_documented() {
        assert_eq!(body_of(MsgPack::F64(f64::NAN)), Value::Null);
        assert_eq!(body_of(MsgPack::F64(f64::NEG_INFINITY)), Value::Null);
        assert_eq!(body_of(MsgPack::Binary(b"\xff\x00".to_vec())), json!("/wA="));
        assert_eq!(body_of(MsgPack::Map(vec![(MsgPack::from(3), MsgPack::from("x"))])), json!({"3": "x"}));
        let narrow = MsgPack::Ext(TIMESTAMP_EXTENSION, 1_700_000_000_u32.to_be_bytes().to_vec());
        assert_eq!(body_of(narrow), json!("2023-11-14T22:13:20.000000+00:00"));
        let middle = (886_560_000_u64 << 34) | 1_700_000_000;
        let middle = MsgPack::Ext(TIMESTAMP_EXTENSION, middle.to_be_bytes().to_vec());
        assert_eq!(body_of(middle), json!("2023-11-14T22:13:20.886560+00:00"));
    }

    #[test]
    fn wrong_frames_are_errors() {
        assert!(matches!(Request::decode(b"\x01"), Err(FrameError::Malformed(_))));
        assert!(matches!(Request::decode(b"\x91\xc0"), Err(FrameError::Malformed(_))));
        assert!(matches!(Request::decode(b"\x91\x01\x00"), Err(FrameError::Malformed(_))));
        let mut buffer = FrameBuffer::default();
        buffer.space().extend_from_slice(&[0xff; 8]);
        assert!(matches!(buffer.next_payload(), Err(FrameError::TooLarge { .. })));
        let mut buffer = FrameBuffer::default();
        buffer.space().extend_from_slice(&[0, 0, 0, 9, 1]);
        assert!(matches!(buffer.finish(), Err(FrameError::Truncated { missing: 8 })));
    }

    #[test]
    fn a_trace_context_is_read() {
        let request =
            Request { id: 1, body: json!({"type": "GetDag"}), carrier: Some(json!({"traceparent": "00-1-2-00"})) };
        let frame = request.encode().expect("small");
        assert_eq!(Request::decode(&frame[LENGTH_BYTES..]).expect("sound"), request);
    }
}
