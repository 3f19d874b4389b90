//! Parsers of single values. Each parser's error says what would be right.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

/// Anything that Rust reads from text; `what` names it.
pub fn parsed<T: FromStr>(what: &'static str) -> impl Fn(&str) -> Result<T, String> {
    move |text| text.parse().map_err(|_| format!("must be {what}"))
}

/// A text as it is.
pub fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// `true` or `false`
pub fn boolean(text: &str) -> Result<bool, String> {
    parsed("true or false")(text)
}

/// A number of at least 1.
pub fn positive(text: &str) -> Result<NonZeroU32, String> {
    parsed("a whole number of at least 1")(text)
}

/// The longest duration: ten years. Points in time beyond it are more than some clocks and caches hold.
const LONGEST: Duration = Duration::from_hours(3650 * 24);

/// A number followed by `ms`, `s`, `m`, `h` or `d`; or 0.
pub fn duration(text: &str) -> Result<Duration, String> {
    let problem = || "must be a duration such as 500ms, 15s, 10m, 1h or 7d".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(problem)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| problem())?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(problem()),
    };
    let time = number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(problem)?;
    if time > LONGEST { Err("must be at most 3650d".to_owned()) } else { Ok(time) }
}

/// A duration that is not zero.
pub fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        time => Ok(time),
    }
}

/// A number of bytes, or one followed by `KiB`, `MiB` or `GiB`.
pub fn bytes(text: &str) -> Result<usize, String> {
    let problem = || "must be a size such as 512, 256KiB, 100MiB or 1GiB".to_owned();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: usize = number.parse().map_err(|_| problem())?;
    let factor: usize = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(problem()),
    };
    number.checked_mul(factor).filter(|size| *size > 0).ok_or_else(problem)
}

/// No tenant does a million of anything in any of the times below: whoever writes more means
/// something else.
const MAX_UNITS: u32 = 1_000_000;

/// Units that may be spent at once.
pub fn burst(text: &str) -> Result<NonZeroU32, String> {
    let units = text.parse().ok().filter(|units: &NonZeroU32| units.get() <= MAX_UNITS);
    units.ok_or_else(|| format!("must be a whole number of at least 1 and at most {MAX_UNITS}"))
}

/// Units in a time: `200/s`, `60/min`, `1000/h`.
pub fn rate(text: &str) -> Result<(NonZeroU32, Duration), String> {
    let problem = || "must be a rate from 1 to 1000000, such as 200/s, 60/min or 1000/h".to_owned();
    let (units, per) = text.split_once('/').ok_or_else(problem)?;
    let units: NonZeroU32 = units.trim().parse().map_err(|_| problem())?;
    if units.get() > MAX_UNITS {
        return Err(problem());
    }
    let seconds = match per.trim() {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return Err(problem()),
    };
    Ok((units, Duration::from_secs(seconds)))
}

/// `20%`, from 0 to 100.
pub fn percentage(text: &str) -> Result<u32, String> {
    text.strip_suffix('%')
        .and_then(|number| number.parse().ok())
        .filter(|percentage| *percentage <= 100)
        .ok_or_else(|| "must be a whole percentage such as 20%".to_owned())
}

/// An `http` or `https` URL.
pub fn web_url(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or("must be an http or https URL")?;
    // URLs are shown: in findings, in the log of a reload, in what a tenant is told.
    if url.username().is_empty() && url.password().is_none() {
        Ok(url)
    } else {
        Err("must be a URL without a name and a password: they would not stay secret".to_owned())
    }
}

/// Returns true if whoever calls a URL stays on this machine.
#[must_use]
pub fn is_local(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// A network such as `10.0.0.0/8`, or one address.
pub fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| "must be a network such as 10.0.0.0/8, or an address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_and_sizes_read_as_they_are_written() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(bytes("256KiB"), Ok(262_144));
        assert_eq!(rate("60/min").map(|(n, per)| (n.get(), per.as_secs())), Ok((60, 60)));
        assert_eq!(percentage("20%"), Ok(20));
        let centuries = ["3651d", "99999999999d"];
        for wrong in ["", "s", "-1s", "1.5s", "1 s", "5", "99999999999999999999s"]
            .into_iter()
            .chain(centuries)
        {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", "0", "KiB", "1KB", "-1", "99999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(burst("1000000").map(NonZeroU32::get), Ok(1_000_000));
        assert!(burst("1000001").is_err() && burst("0").is_err());
        for wrong in ["0/s", "1000001/s", "-1/s", "1/day", "1", "1.5/s", "/s", "inf/s"] {
            assert!(rate(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            let _ = (duration(&text), bytes(&text), rate(&text), percentage(&text));
            let _ = web_url(&text);
        }
    }
}
