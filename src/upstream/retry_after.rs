//! `Retry-After` of Move's answers (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// Longest wait that is believed: no request lives as long, and times are computed with it.
const LONGEST: Duration = Duration::from_hours(1);

/// Returns how long Move asks to wait: seconds or a date, at most [`LONGEST`].
pub fn parse(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for a number are a long time.
        return Some(text.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST));
    }
    let then = httpdate::parse_http_date(text).ok()?;
    // By Move's own clock, where it tells it.
    let now = date(headers, &DATE).unwrap_or_else(SystemTime::now);
    Some(then.duration_since(now).unwrap_or_default().min(LONGEST))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(text: &'static str) -> Option<Duration> {
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        let headers = [(RETRY_AFTER, text), (DATE, now)];
        let headers = headers.map(|(name, text)| (name, text.parse().expect("a value")));
        parse(&headers.into_iter().collect())
    }

    #[test]
    fn seconds_and_all_three_forms_of_a_date_are_understood() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(wait("0"), seconds(0));
        assert_eq!(wait("120"), seconds(120));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT"), seconds(60));
        assert_eq!(wait("Sunday, 06-Nov-94 08:50:37 GMT"), seconds(60));
        assert_eq!(wait("Sun Nov  6 08:50:37 1994"), seconds(60));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), seconds(0));
    }

    #[test]
    fn a_wait_is_never_longer_than_an_hour() {
        for text in ["3601", "18446744073709551615", "99999999999999999999999999"] {
            assert_eq!(wait(text), Some(LONGEST), "{text}");
        }
        assert_eq!(wait("Fri, 06 Nov 2099 08:49:37 GMT"), Some(LONGEST));
    }

    #[test]
    fn what_is_neither_is_nothing() {
        for text in ["", "soon", "-1", "1.5", "1 s", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(wait(text), None, "{text}");
        }
    }
}
