//! The coding of an answer (RFC 9110, section 12.5.3), decided before anything is done.

use axum::http::{HeaderMap, HeaderValue, Request, header};

/// Leaves of `Accept-Encoding` what is decided: gzip, or nothing. A caller that refuses whatever there
/// is gets the answer as it is: a mutation that was carried out must not end as a refusal.
pub fn decide<B>(mut request: Request<B>) -> Request<B> {
    let headers = request.headers_mut();
    if headers.contains_key(header::ACCEPT_ENCODING) {
        if prefers_gzip(headers) {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        } else {
            headers.remove(header::ACCEPT_ENCODING);
        }
    }
    request
}

fn prefers_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, None);
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    for item in texts.flat_map(|text| text.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| {
            part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")).map(str::trim)
        });
        let weight = weight.map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0));
        match coding.as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "identity" => identity = Some(weight),
            "*" => any = Some(weight),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && identity.is_none_or(|identity| gzip >= identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_where_it_is_wanted_and_nothing_where_all_is_refused() {
        let decided = |accepted: &'static str| {
            let request = Request::builder().header(header::ACCEPT_ENCODING, accepted);
            let request = decide(request.body(()).expect("a request"));
            request.headers().get(header::ACCEPT_ENCODING).cloned()
        };
        for yes in ["gzip", "br, GZIP;q=0.5", "*", "x-gzip", "identity;q=0.1, gzip;q=0.2"] {
            assert_eq!(decided(yes).expect("gzip"), "gzip", "{yes}");
        }
        for no in
            ["", "br", "br, *;q=0", "gzip;q=0", "identity, gzip;q=0.5", "gzip;q=x", "identity"]
        {
            assert_eq!(decided(no), None, "{no}");
        }
    }
}
