//! Until when a presigned URL works.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Returns the moment at which the URL expires, read from its query: AWS Signature Version 4 (`X-Amz-Date` and
/// `X-Amz-Expires`), or Version 2 and CloudFront (`Expires`, in seconds since 1970). `None` if it
/// says neither.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
#[must_use]
pub fn expiry(url: &str) -> Option<Timestamp> {
    let (_, query) = url.split_once('?')?;
    let (mut signed_at, mut lifetime, mut expires) = (None, None, None);
    // Of some ten parameters these are two.
    let may_say =
        |pair: &&str| matches!(pair.as_bytes().first(), Some(b'x' | b'X' | b'e' | b'E' | b'%'));
    for pair in query.split('&').filter(may_say) {
        let Some((name, value)) = plain(pair) else { continue };
        if name.eq_ignore_ascii_case("x-amz-date") {
            signed_at = value.strip_suffix('Z').and_then(|at| at.parse::<DateTime>().ok());
        } else if name.eq_ignore_ascii_case("x-amz-expires") {
            lifetime = value.parse::<u32>().ok();
        } else if name.eq_ignore_ascii_case("expires") {
            expires = value.parse::<i64>().ok();
        }
    }
    match (signed_at, lifetime, expires) {
        (Some(signed_at), Some(lifetime), _) => {
            let signed_at = signed_at.to_zoned(TimeZone::UTC).ok()?.timestamp();
            signed_at.checked_add(Duration::from_secs(lifetime.into())).ok()
        }
        (_, _, Some(expires)) => Timestamp::from_second(expires).ok(),
        _ => None,
    }
}

/// A parameter's name and value, decoded where they are encoded; most are not.
fn plain(pair: &str) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    if pair.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        url::form_urlencoded::parse(pair.as_bytes()).next()
    } else {
        let (name, value) = pair.split_once('=')?;
        Some((name.into(), value.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_of_s3s_signature_styles_say_when_they_end() {
        let v4 = "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256\
                  &X-Amz-Date=20261123T120000Z&X-Amz-Expires=3600&X-Amz-Signature=ab";
        assert_eq!(expiry(v4), Some("2026-11-23T13:00:00Z".parse().expect("a time")));
        let v2 = "https://b.s3.amazonaws.com/k?AWSAccessKeyId=a&Expires=1795435200&Signature=b%3D";
        assert_eq!(expiry(&v4.replace("X-Amz-Expires", "X%2DAmz%2DExpires")), expiry(v4));
        assert_eq!(expiry(v2), Timestamp::from_second(1_795_435_200).ok());
    }

    #[test]
    fn a_url_that_does_not_say_it_readably_has_no_expiry() {
        for url in [
            "https://b/k",
            "https://b/k?",
            "https://b/k?Expires=soon",
            "https://b/k?X-Amz-Date=20261123T120000Z",
            "https://b/k?X-Amz-Date=20261323T120000Z&X-Amz-Expires=60",
            "https://b/k?X-Amz-Date=20261123T120000Z&X-Amz-Expires=-60",
        ] {
            assert_eq!(expiry(url), None, "{url}");
        }
    }
}
