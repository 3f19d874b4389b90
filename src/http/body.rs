//! A request's body: in time, within bounds, decoded.

use std::future::poll_fn;
use std::io::Read;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use hyper::body::Frame;
use tokio::time::{Instant, timeout, timeout_at};

use super::bad_request::BadRequest;
use super::error::Refusal;

use crate::limit::Slot;
use crate::model::append_chunk;

/// The time a body may take however little of it there is.
const GRACE: Duration = Duration::from_secs(5);

/// The least rate of a longer one: each of so many bytes is a millisecond more.
const BYTES_PER_MILLISECOND: usize = 16;

/// The bytes of a refused request's body that are read and forgotten: a caller that is still
/// sending when the connection is closed loses the answer.
const DRAINED: usize = 16 * 1024 * 1024;

/// For how long.
const DRAINING: Duration = Duration::from_secs(5);

/// The coding of a body (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As it is.
    Identity,
    /// gzip, which senders may also call `x-gzip`.
    Gzip,
}

impl Coding {
    /// Reads `Content-Encoding`; nothing is `identity`.
    ///
    /// # Errors
    /// When it is another coding, or several.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, BadRequest> {
        let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
        let coding = match (codings.next(), codings.next()) {
            (None, _) => return Ok(Self::Identity),
            (Some(coding), None) => coding.to_str().unwrap_or_default().trim(),
            (Some(_), Some(_)) => return Err(BadRequest::ContentEncoding),
        };
        let is = |name: &&str| coding.eq_ignore_ascii_case(name);
        match coding {
            _ if ["gzip", "x-gzip"].iter().any(is) => Ok(Self::Gzip),
            _ if ["identity", ""].iter().any(is) => Ok(Self::Identity),
            _ => Err(BadRequest::ContentEncoding),
        }
    }

    fn decode(self, bytes: Bytes, max: usize) -> Result<Bytes, BadRequest> {
        if self == Self::Identity {
            return Ok(bytes);
        }
        let one_too_many = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
        let mut text = Vec::with_capacity(bytes.len());
        let mut decoder = MultiGzDecoder::new(&*bytes).take(one_too_many);
        decoder.read_to_end(&mut text).map_err(|_| BadRequest::NotGzip)?;
        if text.len() > max { Err(BadRequest::TooLarge(max)) } else { Ok(text.into()) }
    }
}

/// A body that is still coming.
#[derive(Debug)]
pub struct Incoming {
    body: Body,
    /// Set once it was asked for: until then a caller that sent `Expect: 100-continue` waits.
    is_begun: bool,
}

impl Incoming {
    /// Wraps the body of a request.
    pub const fn new(body: Body) -> Self {
        Self { body, is_begun: false }
    }

    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        self.is_begun = true;
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                // Trailers say nothing here.
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads the request's text: the body, decoded, or a GET's parameters. What has come counts
    /// among the unfinished bodies of the slot's tenant until the body is whole.
    ///
    /// # Errors
    /// When its coding is none that is read, it is not what its head promised, comes too slowly, or the
    /// tenant's bodies take too much memory.
    pub async fn read(
        &mut self,
        head: &Parts,
        max: usize,
        deadline: Instant,
        slot: &mut Slot,
    ) -> Result<Bytes, Refusal> {
        if head.method == Method::GET {
            return Ok(Bytes::copy_from_slice(head.uri.query().unwrap_or_default().as_bytes()));
        }
        let coding = Coding::from_headers(&head.headers)?;
        let began = Instant::now();
        let mut bytes = Bytes::new();
        while !self.body.is_end_stream() {
            let earned = u64::try_from(bytes.len() / BYTES_PER_MILLISECOND).unwrap_or(u64::MAX);
            let until = deadline.min(began + GRACE + Duration::from_millis(earned));
            let chunk = timeout_at(until, self.next()).await.map_err(|_| BadRequest::Slow)?;
            let Some(chunk) = chunk else { break };
            let chunk = chunk.map_err(|_| BadRequest::Interrupted)?;
            if bytes.len() + chunk.len() > max {
                return Err(BadRequest::TooLarge(max).into());
            }
            slot.receive(chunk.len(), max)?;
            bytes = append_chunk(bytes, chunk);
        }
        slot.received();
        Ok(coding.decode(bytes, max)?)
    }

    /// Reads and forgets what is left of it beside the answer, within bounds, so that a caller who
    /// sends first and reads then gets the answer and not a reset connection.
    pub fn drain(mut self, headers: &HeaderMap) {
        let is_awaited = headers.contains_key(header::EXPECT) && !self.is_begun;
        if self.body.is_end_stream() || is_awaited {
            return;
        }
        tokio::spawn(timeout(DRAINING, async move {
            let mut left = DRAINED;
            while let Some(Ok(chunk)) = self.next().await {
                left = left.saturating_sub(chunk.len());
                if left == 0 {
                    return;
                }
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(text: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).expect("written");
        encoder.finish().expect("finished").into()
    }

    #[test]
    fn codings_are_told_apart() {
        let coding = |values: &[&'static str]| {
            let values = values.iter().map(|value| HeaderValue::from_static(value));
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value);
            }
            Coding::from_headers(&headers)
        };
        assert_eq!(coding(&[]), Ok(Coding::Identity));
        assert_eq!(coding(&["identity"]), Ok(Coding::Identity));
        assert_eq!(coding(&["GZIP"]), Ok(Coding::Gzip));
        assert_eq!(coding(&["x-gzip"]), Ok(Coding::Gzip));
        for other in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"], &["deflate"]] {
            assert_eq!(coding(other), Err(BadRequest::ContentEncoding), "{other:?}");
        }
    }

    #[test]
    fn gzip_is_decoded_within_the_bound_and_no_further() {
        let body = gzip(b"{\"query\":\"{a}\"}");
        assert_eq!(Coding::Gzip.decode(body.clone(), 100), Ok(Bytes::from("{\"query\":\"{a}\"}")));
        let bomb = gzip(&vec![b' '; 1 << 20]);
        assert!(bomb.len() < 2_000);
        assert_eq!(Coding::Gzip.decode(bomb, 1_000), Err(BadRequest::TooLarge(1_000)));
        assert_eq!(Coding::Gzip.decode(Bytes::from("plain"), 100), Err(BadRequest::NotGzip));
        let cut = body.slice(..body.len() - 4);
        assert_eq!(Coding::Gzip.decode(cut, 100), Err(BadRequest::NotGzip));
    }
}
